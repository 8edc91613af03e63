"""What is made of results: tables and figures."""
