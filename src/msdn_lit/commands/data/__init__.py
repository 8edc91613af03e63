"""Commands that bring data: fetch, init-dataset, extract, doctor."""
