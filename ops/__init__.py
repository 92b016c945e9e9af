"""How the hub is run: image, Serve and KubeRay files, and the board. Not part of the installed package."""
