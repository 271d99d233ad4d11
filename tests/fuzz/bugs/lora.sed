# ref/lora/module.c: up may have another rank than down
s/} else if (up.b != down.a) return misfit(m, path);/}/
