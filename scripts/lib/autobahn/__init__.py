"""Autobahn's test suite: finding and running it, judging and recording what it found."""
