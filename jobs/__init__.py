"""The data stages, one file each: they bind tables, stage keys and commits to the library."""
