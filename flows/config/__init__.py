"""What a run can be asked: typed options, from which the command line and the flows are made."""
