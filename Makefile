# sdlora - trains and samples Stable Diffusion LoRA models in plain C.   `make help` lists the targets.

CC       ?= cc
OPT      ?= -O3
GEMM     ?= blas
PREFIX   ?= /usr/local
# GEMM: blas (OpenBLAS) or naive (plain loops: for sanitizers, and for machines without a BLAS)
SAN      ?=#                    address, undefined or thread
WARN     := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes $(if $(WERROR),-Werror)
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all)
CUDA     ?=#                    1: with the CUDA set, by nvcc
CUDALIB  ?= /usr/local/cuda/lib64
FLAGS    := $(if $(CUDA),-DWITH_CUDA) -std=c11 -D_DEFAULT_SOURCE -ffp-contract=off -fopenmp $(OPT) -g $(SANFLAGS) $(CFLAGS)
# Optional: libwebp, where its header is there.
WEBP     := $(shell $(CC) $(CFLAGS) -include webp/decode.h -E -xc /dev/null >/dev/null 2>&1 && echo -DHAVE_WEBP)
LIBS     := $(if $(WEBP),-lwebp) $(if $(filter blas,$(GEMM)),-lopenblas) -lcjson -lutf8proc -lmd $(if $(CUDA),-L$(CUDALIB) -lcudart_static -lstdc++ -lrt -ldl -lpthread) -lm
MACHINE  := $(shell $(CC) $(CFLAGS) -dumpmachine)
STB      := -isystem /usr/include/stb

# Objects of one set of flags live together, so changing flags needs no `make clean`.
KEY   := $(shell printf '%s' '$(CC) $(FLAGS) $(WARN) $(GEMM)$(WEBP)' | cksum | cut -d' ' -f1)
B     := build/$(KEY)

# Files of ref/ops that hold arithmetic are compiled twice, for float and for double (ref/ops/real.h); these hold none.
PLAIN := $(addprefix ref/ops/,ops.c host.c shape.c cost.c set_null.c set_f16.c wrap.c trace.c trace_view.c)
TWICE := $(filter-out $(PLAIN) ref/ops/gemm_%,$(wildcard ref/ops/*.c)) ref/ops/gemm_$(strip $(GEMM)).c
ONCE  := $(filter-out ref/cli/main.c ref/ops/%,$(wildcard ref/*/*.c)) $(PLAIN) $(wildcard kernels/cuda/*.c) kernels/cpu/set.c
KERNELS := $(wildcard kernels/cuda/*.cu)
# The fast CPU set is compiled for each level of instructions of the machine's family, best first (kernels/cpu/isa.h); set.c chooses one at start.
LEVELS := $(if $(findstring x86_64,$(MACHINE)),avx512 avx2 base,$(if $(findstring aarch64,$(MACHINE)),neon base,base))
FLAGS_avx512 := -march=x86-64-v4
FLAGS_avx2   := -march=x86-64-v3
CPU    := $(filter-out %/set.c,$(wildcard kernels/cpu/*.c))
LIB   := $(ONCE:%.c=$B/%.o) $(TWICE:%.c=$B/%_f32.o) $(TWICE:%.c=$B/%_f64.o) $(foreach l,$(LEVELS),$(CPU:%.c=$B/%_$l.o)) $(if $(CUDA),$(KERNELS:%.cu=$B/%.o))
UNITS := $(wildcard tests/unit_*.c)
CHECKS := $(patsubst tests/%/main.c,%,$(wildcard tests/*/main.c))
TESTS := $(UNITS:tests/%.c=$B/%) $(CHECKS:%=$B/%)

all: sdlora ## build ./sdlora
sdlora: $B/sdlora FORCE
	@cmp -s $< $@ || { rm -f $@ && cp $< $@; }

FORCE:

$B/sdlora: $(LIB) $B/ref/cli/main.o
$(UNITS:tests/%.c=$B/%): $B/unit_%: $B/tests/unit_%.o $(LIB)
$B/sdlora $(TESTS):
	$(CC) $(FLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIBS) $(if $(filter $B/unit_%,$@),-lcmocka)
define check_rule
$B/$1: $(patsubst %.c,$B/%.o,$(wildcard tests/$1/*.c)) $(LIB)
endef
$(foreach c,$(CHECKS),$(eval $(call check_rule,$c)))
$B/gradcheck: $B/tests/parity/noise.o

COMPILE = @mkdir -p $(@D); echo "$(CC) $<"; $(CC) $(FLAGS) $(WARN) $(STB) $(if $(filter %/webp.c,$<),$(WEBP)) $(if $(filter tests/fuzz/fuzz_%,$<),-Dfuzz_one=$(*F)) -Iref -I. -I$B -MMD -MP -c -o $@ $<
$B/%_f32.o: %.c ; $(COMPILE) -DREAL=32
$B/%_f64.o: %.c ; $(COMPILE) -DREAL=64
$(foreach l,$(LEVELS),$(eval $B/kernels/cpu/%_$l.o: kernels/cpu/%.c ; $$(COMPILE) $(FLAGS_$l) -DISA_$(shell echo $l | tr a-z A-Z)))
$B/kernels/cpu/set.o: kernels/cpu/set.c ; $(COMPILE) '-DCPU_LEVELS=${LEVELS:%=LEVEL(%)}'
$B/%.o: %.c ; $(COMPILE)
-include $(shell find $B -name '*.d' 2>/dev/null)

# ---- the CUDA set: by nvcc for an sm_75 card, with PTX for later ones; or by a C++ compiler, for the emulator of tests/emu ----

NVCC      ?= nvcc
NVCCFLAGS := -std=c++17 -O3 -gencode arch=compute_75,code=[sm_75,compute_75] -lineinfo -Werror all-warnings -Xcompiler -Wall,-Wextra
$B/kernels/cuda/%.o: kernels/cuda/%.cu
	@mkdir -p $(@D); echo "$(NVCC) $<"; $(NVCC) $(NVCCFLAGS) -Iref -MMD -MP -c -o $@ $<

# Tests to leave out. Thread sanitizer: clang's and g++'s objects do not mix; and oom takes memory away from its runtime, which then aborts (asan runs oom).
SKIP      := $(if $(filter thread,$(SAN)),oom emu)
# plain: as fast as it gets, or under the sanitizers of SAN. race: every access of a kernel is looked at (tests/emu/race.cpp).
EMU_CXX   ?= g++
EMUFLAGS  := -std=c++17 -DCUDA_EMU -march=native -ffp-contract=off -fno-strict-aliasing -fopenmp $(if $(SAN),-O1,-O2) -g $(SANFLAGS) \
             -Wall -Wextra -Wshadow -Wno-unknown-pragmas $(if $(WERROR),-Werror) -Itests/emu -Iref
EMU       := $(patsubst %.cpp,$B/%.o,$(wildcard tests/emu/*.cpp))
EMU_LIB   := $(filter-out $B/ref/ops/ops.o,$(LIB)) $B/emu/ops.o $(EMU)
EMU_CU    := $(KERNELS:%.cu=%.o)
EMU_TESTS := checkops sdlora toy bugs selftest
PARITY    := net values noise#                  what toy takes from that test
EMU_SHORT := $(if $(SKIP),,$(EMU_TESTS:%=$B/emu/plain/%) $(if $(SAN),,$B/emu/race/bugs))
EMU_BUILD  = @mkdir -p $(@D); echo "$(EMU_CXX) $<"; $(EMU_CXX) $(EMUFLAGS) -MMD -MP -c -o $@
$B/emu/ops.o: ref/ops/ops.c ; $(COMPILE) -DWITH_CUDA
$B/tests/emu/%.o: tests/emu/%.cpp ; $(EMU_BUILD) $<
$B/emu/plain/%.o: %.cu ; $(EMU_BUILD) -x c++ $<
$B/emu/race/%.o: %.cu ; $(EMU_BUILD) -O1 -fsanitize=thread -x c++ $<
define emu_rules
$B/emu/$1/checkops: $(patsubst %.c,$B/%.o,$(wildcard tests/checkops/*.c)) $(EMU_CU:%=$B/emu/$1/%)
$B/emu/$1/sdlora: $B/ref/cli/main.o $(EMU_CU:%=$B/emu/$1/%)
$B/emu/$1/toy: $B/tests/emu/toy.o $(PARITY:%=$B/tests/parity/%.o) $(EMU_CU:%=$B/emu/$1/%)
$B/emu/$1/checkops $B/emu/$1/sdlora $B/emu/$1/toy: $(EMU_LIB)
$B/emu/$1/bugs: $B/emu/$1/tests/emu/bugs.o $(EMU)
$B/emu/$1/selftest: $B/emu/$1/tests/emu/selftest.o $(EMU) $B/ref/base/type.o $B/ref/base/err.o
$(EMU_TESTS:%=$B/emu/$1/%):
	$(EMU_CXX) $(EMUFLAGS) -o $$@ $$(filter %.o,$$^) $(LIBS)
endef
$(foreach v,plain race,$(eval $(call emu_rules,$v)))

# The report's page is kept as HTML; the program carries it as C strings, a line each.
$B/ref/train/report.o: $B/report_page.inc
$B/report_page.inc: ref/train/report_page.html
	@mkdir -p $(@D); sed 's/[\\"?]/\\&/g; s/.*/"&\\n",/' $< >$@

# A fuzz target is a file tests/fuzz/fuzz_NAME.c: its fuzz_one is fuzz_NAME in the program that replays the corpora, and the entry of libFuzzer in NAME's own.
FUZZ_ALL := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
$B/tests/fuzz/main.o: $B/fuzz_list.inc
$B/fuzz_list.inc: $(wildcard tests/fuzz/fuzz_*.c)
	@mkdir -p $(@D); printf 'FUZZ(%s)\n' $(FUZZ_ALL) >$@
$(FUZZ_ALL:%=$B/fuzz_%): $B/fuzz_%: $B/tests/fuzz/fuzz_%.o $B/tests/fuzz/fuzz.o $(LIB)
	$(CC) $(FLAGS) $(LDFLAGS) -fsanitize=fuzzer -Wl,--defsym=LLVMFuzzerTestOneInput=fuzz_$* -o $@ $(filter %.o,$^) $(LIBS)

# Where the program looks for its own data: the folder of `make install`, and the source tree.
$B/ref/io/share.o: $B/share_places.inc
$B/share_places.inc: FORCE
	@mkdir -p $(@D); printf '"%s",\n' '$(PREFIX)/share/sdlora' '$(CURDIR)/share' >$@.new; cmp -s $@.new $@ && rm $@.new || mv $@.new $@

.DELETE_ON_ERROR:

# ---- what a user calls ----

PACKAGES    := gcc g++ libc6-dev make libopenblas-dev libstb-dev libcjson-dev libutf8proc-dev libmd-dev libcmocka-dev
PACKAGES_CI := clang libomp-dev llvm

.PHONY: all help deps demo bench bench-peers estimate cuda facts test test-emu test-long test-ci asan asan-emu tsan mutants golden rules format loc clip-vocab install clean
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

deps: ## install the Debian packages that are missing
	@sh .ci/deps $(PACKAGES)

demo: deps ## train a LoRA of the demo's character and draw it before and after: out/demo
	@$(MAKE) --no-print-directory -s sdlora $B/score
	@sh golden/demo/run.sh $B/score
$B/bench_step: $B/bench/bench_step.o $B/bench/nets.o $(LIB)
$B/score: $B/golden/demo/score.o $(LIB)
$B/estimate: $B/bench/estimate.o $(LIB)
$B/score $B/bench_step $B/estimate:
	$(CC) $(FLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIBS)

# ONLY="ops nets sizes threads batches draw sample": some of it. MODEL=PATH: a model to draw with.
bench: deps ## how fast it is here, at the size of SD 1.5, without a model: 12 GB, half an hour; bench/results
	@$(MAKE) --no-print-directory -s sdlora $B/bench_step
	@MODEL='$(MODEL)' sh bench/run.sh $B $(ONLY)
# SIZE="512 768 1 32": width, height, batch, rank
estimate: ## what a LoRA step would take on an RTX 2080, on paper: docs/gpu.md
	@$(MAKE) --no-print-directory -s $B/estimate
	@$B/estimate $(SIZE)
# SDCPP=DIR: a checkout of stable-diffusion.cpp, built in DIR/build. ONLY="unet512 step": some rows. MODELS=DIR: where the random models are kept.
bench-peers: deps ## the same beside torch (and stable-diffusion.cpp), in turns, as ratios: bench/peers/requirements.txt, 16 GB, half an hour
	@$(MAKE) --no-print-directory -s $B/bench_step
	@$(PYTHON) bench/peers/compare.py $B/bench_step $(if $(SDCPP),--sdcpp $(SDCPP)) $(if $(MODELS),--models $(MODELS)) $(if $(ONLY),--only $(ONLY))

test: deps ## every test that needs no network, GPU or Python
	@$(MAKE) --no-print-directory -s -j2 tests
	@SKIP='$(SKIP)' sh tests/run.sh $B $(ONLY)
.PHONY: tests
tests: $B/sdlora $B/score $(if $(ONLY),$(patsubst %,$B/%,$(filter-out %.sh,$(ONLY))),$(TESTS)) $(if $(filter emu/%,$(or $(ONLY),emu/)),$(EMU_SHORT))

cuda: ## compile the CUDA set for an sm_75 card: objects under build/
	@if command -v $(NVCC) >/dev/null; then $(MAKE) --no-print-directory -s $(KERNELS:%.cu=$B/%.o); \
	else echo "cuda: skipped, there is no $(NVCC): install the CUDA Toolkit, 12 or later, or set NVCC=/path/to/nvcc"; fi
facts: ## kernels/cuda/FACTS: registers, shared memory, occupancy, tensor-core share of every kernel
	@$(MAKE) --no-print-directory -s -j2 $B/emu/plain/checkops
	@NVCC='$(NVCC)' NVCCFLAGS='$(NVCCFLAGS)' sh kernels/cuda/facts.sh $B
test-emu: deps ## the CUDA set on the CPU emulator, in six orders and with every access looked at; a small model; wrong kernels caught
	@$(MAKE) --no-print-directory -s -j2 $(foreach v,plain $(if $(SAN),,race),$(EMU_TESTS:%=$B/emu/$v/%))
	@EMU_CXX='$(EMU_CXX)' EMUFLAGS='$(EMUFLAGS)' EMU_LIB='$(EMU_LIB)' LIBS='$(LIBS)' SKIP='$(SKIP)' LIST=tests/LIST-emu sh tests/run.sh $B
test-long: deps ## more cases, more kills: half an hour
	@$(MAKE) --no-print-directory -s -j2 tests
	@LIST=tests/LIST-long sh tests/run.sh $B
	@$(MAKE) --no-print-directory fuzz-bugs
	@$(MAKE) --no-print-directory matrix

# MODELS=DIR: the models of full size stay there. KOHYA=DIR: a checkout of sd-scripts, which then has to take our LoRA file. LORA=FILE: one of cloneofsimo's.
test-full: test ## the tests, LoRA files exchanged with diffusers and peft, models of full size: golden/requirements.txt, 16 GB
	$(PYTHON) golden/interop.py $(if $(KOHYA),--kohya $(KOHYA))
	$(if $(LORA),$(PYTHON) golden/real_lora.py $(LORA))
	$(PYTHON) golden/full.py $(if $(MODELS),--dir $(MODELS)) $(if $(wildcard share/tokenizer/vocab.json),--tokenizer share/tokenizer)
test-ci: ## the same tests under the sanitizers
	@sh .ci/deps $(PACKAGES) $(PACKAGES_CI)
	@sh tests/ci.sh
asan: ## the tests under the address and undefined-behaviour sanitizers
	@$(MAKE) --no-print-directory test SAN=address,undefined OPT=-O1 SKIP=emu
asan-emu: ## the CUDA set on the emulator, under these sanitizers
	@$(MAKE) --no-print-directory test-emu SAN=address,undefined OPT=-O1 SKIP='emu/toy.sh emu/mutants.sh'
tsan: ## the tests under the thread sanitizer: clang with Archer, which knows OpenMP, and the naive GEMM
	@OMP_TOOL_LIBRARIES=libarcher.so TSAN_OPTIONS=ignore_noninstrumented_modules=1 $(MAKE) --no-print-directory test CC=clang SAN=thread GEMM=naive OPT=-O1

mutants: deps ## kernels that are wrong in one way each: all must be caught
	@$(MAKE) --no-print-directory -s tests ONLY=mutants
	@$B/mutants && $B/mutants --set cpu

PYTHON ?= python3
golden: ## make the golden files anew: wants golden/requirements.txt
	$(PYTHON) golden/ops.py
	$(PYTHON) golden/make.py
	sh golden/manifest.sh >golden/MANIFEST

FUZZ    ?= $(FUZZ_ALL)
SECONDS ?= 60
fuzz: ## libFuzzer on every reader, or on some: FUZZ="json toml"; SECONDS=60 for each
	@sh .ci/deps $(PACKAGES) $(PACKAGES_CI)
	@$(MAKE) --no-print-directory -s $(FUZZ_BUILD) fuzz-run
fuzz-bugs: ## libFuzzer on readers with a bug put in: is each found within SECONDS?
	@sh .ci/deps $(PACKAGES) $(PACKAGES_CI)
	@$(MAKE) --no-print-directory -s $(FUZZ_BUILD) fuzz-bugs-run
fuzz-coverage: ## how much of each reader its corpus reaches: at least nine lines in ten
	@sh .ci/deps $(PACKAGES) $(PACKAGES_CI)
	@$(MAKE) --no-print-directory -s CC=clang GEMM=naive OPT=-O0 CFLAGS='-fprofile-instr-generate -fcoverage-mapping' fuzz-coverage-run
FUZZ_BUILD := CC=clang GEMM=naive OPT=-O1 SAN=fuzzer-no-link,address,undefined
.PHONY: fuzz fuzz-bugs fuzz-coverage fuzz-run fuzz-bugs-run fuzz-coverage-run
fuzz-run: $(FUZZ:%=$B/fuzz_%)
	@sh tests/fuzz/fuzz.sh $B $(SECONDS) $(FUZZ)
fuzz-bugs-run: $(FUZZ_ALL:%=$B/tests/fuzz/fuzz_%.o) $B/tests/fuzz/fuzz.o $(LIB)
	@CC='$(CC)' FLAGS='$(FLAGS) $(STB) $(WEBP) -Iref -I$B' LIB='$(LIB)' LIBS='$(LIBS)' sh tests/fuzz/bugs.sh $B $(SECONDS)
fuzz-coverage-run: $B/fuzz
	@sh tests/fuzz/coverage.sh $B

PACKAGES_MATRIX := gcc clang libomp-dev libopenblas0-pthread libopenblas0-openmp gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
matrix: ## the same numbers by gcc and clang, -O0 and -O3, two OpenBLAS and none, and on aarch64: a table
	@sh .ci/deps $(PACKAGES) $(PACKAGES_MATRIX)
	@sh tests/matrix.sh
build-folder:
	@echo $B
.PHONY: matrix build-folder

rules: ## what CONTRIBUTING.md says and a machine can see
	@sh tests/rules.sh
format: ## clang-format over the lines that changed since the last commit
	git clang-format
loc: ## lines of code by room
	@for room in ref/* kernels/* tests bench golden; do \
	    printf '%7d %s\n' "$$(cat $$(find $$room -name '*.[ch]' -o -name '*.cu' -o -name '*.cpp' -o -name '*.py') /dev/null | wc -l)" "$$room"; done

clip-vocab: ## CLIP's vocabulary, for models that are a single file: from a wheel of open_clip_torch (PyPI) into share/tokenizer
	@mkdir -p build/wheel && $(PYTHON) -m pip download --quiet --no-deps --dest build/wheel open_clip_torch
	@$(PYTHON) golden/clip_vocab.py "$$(ls -t build/wheel/open_clip_torch-*.whl | head -n 1)" share/tokenizer

SHARE  = $(DESTDIR)$(PREFIX)/share
install: sdlora ## program, man page, bash completion and docs into PREFIX
	install -D -m 755 sdlora $(DESTDIR)$(PREFIX)/bin/sdlora
	install -d $(SHARE)/man/man1 $(SHARE)/bash-completion/completions $(SHARE)/doc/sdlora/docs/examples
	./sdlora docs --man >$(SHARE)/man/man1/sdlora.1
	./sdlora docs --bash >$(SHARE)/bash-completion/completions/sdlora
	install -m 644 README.md CHANGELOG.md LICENSE $(SHARE)/doc/sdlora
	install -m 644 $(wildcard docs/*.md docs/*.png) $(SHARE)/doc/sdlora/docs
	install -m 644 docs/examples/* $(SHARE)/doc/sdlora/docs/examples
	if [ -f share/tokenizer/vocab.json ]; then install -d $(SHARE)/sdlora/tokenizer && install -m 644 share/tokenizer/* $(SHARE)/sdlora/tokenizer; fi
clean: ## remove what was built
	rm -rf build sdlora
