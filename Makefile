# sdlora - trains and samples Stable Diffusion LoRA models in plain C.   `make help` lists the targets.

CC       ?= cc
OPT      ?= -O3
GEMM     ?= blas
# GEMM: blas (OpenBLAS) or naive (plain loops: for sanitizers, and for machines without a BLAS)
SAN      ?=#                    address, undefined or thread
WARN     := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes $(if $(WERROR),-Werror)
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all)
FLAGS    := -std=c11 -D_DEFAULT_SOURCE -ffp-contract=off -fopenmp $(OPT) -g $(SANFLAGS) $(CFLAGS)
LIBS     := $(if $(filter blas,$(GEMM)),-lopenblas) -lcjson -lutf8proc -lmd -lm
STB      := -isystem /usr/include/stb

# Objects of one set of flags live together, so changing flags needs no `make clean`.
KEY   := $(shell printf '%s' '$(CC) $(FLAGS) $(WARN) $(GEMM)' | cksum | cut -d' ' -f1)
B     := build/$(KEY)

# Files of ref/ops that hold arithmetic are compiled twice, for float and for double (ref/ops/real.h).
TWICE := $(filter-out ref/ops/ops.c ref/ops/shape.c ref/ops/gemm_%,$(wildcard ref/ops/*.c)) ref/ops/gemm_$(strip $(GEMM)).c
ONCE  := $(filter-out ref/cli/main.c ref/ops/%,$(wildcard ref/*/*.c)) ref/ops/ops.c ref/ops/shape.c
LIB   := $(ONCE:%.c=$B/%.o) $(TWICE:%.c=$B/%_f32.o) $(TWICE:%.c=$B/%_f64.o)
UNITS := $(wildcard tests/unit_*.c)
CHECKS := $(patsubst tests/%/main.c,%,$(wildcard tests/*/main.c))
TESTS := $(UNITS:tests/%.c=$B/%) $(CHECKS:%=$B/%)

all: sdlora ## build ./sdlora
sdlora: $B/sdlora
	@cmp -s $< $@ || cp $< $@

$B/sdlora: $(LIB) $B/ref/cli/main.o
$(UNITS:tests/%.c=$B/%): $B/unit_%: $B/tests/unit_%.o $(LIB)
$B/sdlora $(TESTS):
	$(CC) $(FLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIBS) $(if $(filter $B/unit_%,$@),-lcmocka)
define check_rule
$B/$1: $(patsubst %.c,$B/%.o,$(wildcard tests/$1/*.c)) $(LIB)
endef
$(foreach c,$(CHECKS),$(eval $(call check_rule,$c)))

COMPILE = @mkdir -p $(@D); echo "$(CC) $<"; $(CC) $(FLAGS) $(WARN) $(STB) -Iref -MMD -MP -c -o $@ $<
$B/%_f32.o: %.c ; $(COMPILE) -DREAL=32
$B/%_f64.o: %.c ; $(COMPILE) -DREAL=64
$B/%.o: %.c ; $(COMPILE)
-include $(shell find $B -name '*.d' 2>/dev/null)

.SECONDARY:
.DELETE_ON_ERROR:

# ---- what a user calls ----

PACKAGES := gcc libc6-dev make libopenblas-dev libstb-dev libcjson-dev libutf8proc-dev libmd-dev libcmocka-dev
