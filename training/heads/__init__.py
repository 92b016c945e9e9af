"""One module per family of models. A head turns inputs into a location and a scale in units of volatility."""
