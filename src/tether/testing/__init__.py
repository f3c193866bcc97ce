"""For tests of what is built on tether: a virtual clock, a scripted connector, real servers to kill and freeze."""
