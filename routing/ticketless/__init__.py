"""A choice of replicas alone, for any Serve application: no catalogue, no tickets."""
