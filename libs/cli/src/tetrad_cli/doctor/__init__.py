"""What `tetrad doctor` looks at: one module for each check, and the table of them."""
