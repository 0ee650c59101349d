"""The resources of the remote API, by kind of object. Each is a row; what is common to them is in `base`."""
