"""Objects that jobs start from: uploaded files, and how what a request names is found."""
