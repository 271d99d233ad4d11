# ref/lora/module.c: a LoHa's core may have another kernel than the other
s/ || t\[w\].k != t\[0\].k//
