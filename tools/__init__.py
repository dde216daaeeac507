"""What can fill the nodes of a graph: one node a file."""
