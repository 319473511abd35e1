"""What the apps show and do. The app files are thin: they name a screen and serve it."""
