"""The federation log's statements: typed row changes, their SQL text, the chain over them, the digests of rows. Pure."""
