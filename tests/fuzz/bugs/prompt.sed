# ref/diffusion/sample_config.c: a line may be as long as its buffer
s/if (strlen(text) >= sizeof rest) return err/if (strlen(text) > sizeof rest) return err/
