"""Many runs of one recipe that differ in what is asked about: planned, run, gone on with."""
