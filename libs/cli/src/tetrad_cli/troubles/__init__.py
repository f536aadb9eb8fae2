"""What can go wrong, in one place: the catalogue that `tetrad explain`, the page of troubles and the tests read."""
