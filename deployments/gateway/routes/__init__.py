"""One file per topic of the API. Routes translate; what they do is in the modules beside this package."""
