# ref/io/toml.c: the end of a key does not count
s/if (used + length + 2 > TOML_PATH) return/if (used + length > TOML_PATH) return/
