# tests.mk - the test programs and their targets.

TEST_FLAGS = -std=c11 $(filter-out -Wframe-larger-than=%,$(WARN)) $(FORTIFY) -fopenmp -Iinclude -Isrc -Itests -MMD -MP \
             -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE $(DEP_CFLAGS) $(CPPFLAGS) $(CFLAGS)
TEST_LINK  = $(INTERNAL) $(ALL_LIBS)
CHECK_LIBS = $(shell $(PKG_CONFIG) --libs check 2>/dev/null || echo -lcheck)

UNITS := check_base check_io check_pictures check_picture_parts check_images check_load check_save check_zip check_formats check_networks \
         check_snapshots check_snapshot_damage check_flax check_flax_rules check_msgpack check_npy check_packed check_tar check_raw_sets check_listed check_weights check_checkpoint check_damage check_kernels \
         check_ops check_convs check_graph check_configs check_sampler check_sampler_options check_guidance check_guided_training check_edit \
         check_edit_calls check_data check_sets check_folders check_archives check_transforms check_train check_train_state check_train_memory \
         check_trainer_calls check_train_options check_successors check_distance check_run check_run_metric \
         check_presets check_metrics check_features check_lpips check_metric_files check_api check_guest \
         check_solvers check_edm2 check_two_times check_operations check_group check_plan check_doctor
UNITS += check_json check_tensors check_pickle check_pickle_symbols check_zip_directory check_torch_views check_torch_files check_edm_notes
UNITS += check_schedules check_levels check_method_options check_state_basics check_state_files
SUPPORT := $(BUILD)/tests/support/fill.o $(BUILD)/tests/support/memory.o $(BUILD)/tests/support/probe.o $(BUILD)/tests/support/keys.o $(BUILD)/tests/support/ranks.o
GOLDEN_OBJECTS := $(patsubst %,$(BUILD)/tests/golden/%.o,main networks gradients derivatives toy algorithms editing \
                  training training_toy training_losses training_continuous training_flat training_runs \
                  training_schedules training_successors data metrics checkpoints flax_states snapshots keys edm2 \
                  training_scm training_meanflow training_soflow)
UNIT_PROGRAMS := $(UNITS:%=$(BUILD)/tests/%)

$(BUILD)/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	$(CC) $(TEST_FLAGS) -c -o $@ $<

# The plain loops that results are compared with take most of the time of the tests of ops: sanitizers are for the library.
$(BUILD)/tests/ref/naive.o: tests/ref/naive.c
	@mkdir -p $(@D)
	$(CC) $(TEST_FLAGS) -O3 -fno-sanitize=all -c -o $@ $<

$(BUILD)/tests/golden/golden: $(GOLDEN_OBJECTS) $(SUPPORT) $(INTERNAL)
	$(CC) $(CFLAGS) $(LDFLAGS) -fopenmp -o $@ $(GOLDEN_OBJECTS) $(SUPPORT) $(TEST_LINK)

OPERATIONS := $(patsubst %,$(BUILD)/tests/support/%.o,operations $(addprefix operations_,models samples pictures training metrics files))
$(BUILD)/tests/check_operations: $(OPERATIONS)
$(UNIT_PROGRAMS): $(BUILD)/tests/%: $(BUILD)/tests/%.o $(BUILD)/tests/support/suite.o $(BUILD)/tests/ref/naive.o $(SUPPORT) $(INTERNAL)
	$(CC) $(CFLAGS) $(LDFLAGS) -fopenmp -o $@ $(filter %.o,$^) $(TEST_LINK) $(CHECK_LIBS)

$(BUILD)/tests/mpi_steps: $(BUILD)/tests/mpi_steps.o $(SUPPORT) $(INTERNAL)
	$(CC) $(CFLAGS) $(LDFLAGS) -fopenmp -o $@ $(filter %.o,$^) $(TEST_LINK) $(CHECK_LIBS) -ldl

# The planner and the doctor of cm-train are rooms of their own, and are tested as such.
$(BUILD)/tests/check_plan: $(BUILD)/tests/examples/plan.o $(BUILD)/tests/examples/recipe.o
$(BUILD)/tests/check_doctor: $(BUILD)/tests/examples/doctor_rules.o
$(BUILD)/tests/examples/%.o: examples/%.c
	@mkdir -p $(@D)
	$(CC) $(TEST_FLAGS) -c -o $@ $<

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(SUPPORT) $(INTERNAL)
	$(CC) $(CFLAGS) $(LDFLAGS) -fopenmp -o $@ $< $(SUPPORT) $(TEST_LINK)

# Each program is a target, so that -j runs them side by side.
RUNS := $(UNITS:%=run-%)
.PHONY: check-units $(RUNS) check-data check-scripts
check-units: $(RUNS) run-bad_arguments
check-scripts: | forget-skips
$(RUNS): run-%: $(BUILD)/tests/% | forget-skips
	@$<

# Calls with arguments at their edges, from the headers; one of STEP pairs of them.
STEP ?= 37
$(BUILD)/tests/made/bad_arguments.h: tests/bad_arguments.py tests/header_parser.py $(wildcard include/consistency/*.h)
	@mkdir -p $(@D)
	@$(PYTHON) $< > $@
$(BUILD)/tests/bad_arguments.o: $(BUILD)/tests/made/bad_arguments.h
$(BUILD)/tests/bad_arguments.o: CPPFLAGS += -I$(BUILD)/tests/made
.PHONY: run-bad_arguments
run-bad_arguments: $(BUILD)/tests/bad_arguments | forget-skips
	@$< $(STEP)

# cm-info over folders of files: what is called h_* is refused, everything else reads, within bounds.
INFO_FILES = $(BUILD)/tests/info_files $(BUILD)/bin/cm-info
$(BUILD)/tests/info_files: tests/info_files.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -O1 -g -Wall -Wextra -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE -o $@ $<

check-data: $(BUILD)/tests/golden/golden
	@$(BUILD)/tests/golden/golden tests/data/golden
	@$(BUILD)/tests/golden/golden -l tests/data/golden networks
	@$(PYTHON) tests/golden_members.py $(BUILD)/tests/golden/golden tests/data/golden/algorithms
	@$(PYTHON) tests/golden_twins.py $(BUILD)/tests/golden/golden tests/data/golden/algorithms/train_cd_*.safetensors
	@$(PYTHON) tests/golden_metric_twins.py $(BUILD)/tests/golden/golden

check-golden: $(BUILD)/tests/golden/golden $(INFO_FILES)
	@$(BUILD)/tests/golden/golden $(GOLDEN)
	@if [ -d $(GOLDEN)/checkpoints ]; then $(INFO_FILES) $(GOLDEN)/checkpoints; fi
	@if [ -d $(GOLDEN)/networks ]; then echo "networks by direct convolutions (lean):"; \
	$(BUILD)/tests/golden/golden -l $(GOLDEN) networks; fi

# --- the library as others meet it ------------------------------------------------

$(BUILD)/tests/shim.so: tests/shim.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -O1 -Wall -Wextra -fPIC -shared -o $@ $< -ldl
$(BUILD)/tests/record_shim.so: tests/record_shim.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -O1 -Wall -Wextra -fPIC -shared -o $@ $< -ldl
$(BUILD)/tests/rot_program: tests/rot_program.c $(BUILD)/lib/libconsistency.so
	@mkdir -p $(@D)
	$(CC) $(TEST_FLAGS) -o $@ $< -L$(BUILD)/lib -lconsistency -Wl,-rpath,'$$ORIGIN/../lib'
$(BUILD)/tests/fault_program: tests/fault_program.c $(BUILD)/tests/support/memory.o $(BUILD)/lib/libconsistency.so
	@mkdir -p $(@D)
	$(CC) $(TEST_FLAGS) -o $@ $< $(BUILD)/tests/support/memory.o -L$(BUILD)/lib -lconsistency -Wl,-rpath,'$$ORIGIN/../lib'
$(BUILD)/tests/operation_program: tests/operation_program.c $(OPERATIONS) $(BUILD)/lib/libconsistency.so
	@mkdir -p $(@D)
	$(CC) $(TEST_FLAGS) -o $@ $< $(OPERATIONS) -L$(BUILD)/lib -lconsistency -lm -Wl,-rpath,'$$ORIGIN/../lib'
$(BUILD)/tests/bench_train: tests/bench_train.c $(BUILD)/lib/libconsistency.so
	@mkdir -p $(@D)
	$(CC) $(TEST_FLAGS) -o $@ $< -L$(BUILD)/lib -lconsistency -Wl,-rpath,'$$ORIGIN/../lib'
$(BUILD)/tests/bench_metrics: tests/bench_metrics.c $(BUILD)/lib/libconsistency.so
	@mkdir -p $(@D)
	$(CC) $(TEST_FLAGS) -o $@ $< -L$(BUILD)/lib -lconsistency -Wl,-rpath,'$$ORIGIN/../lib' -lm
$(BUILD)/tests/threads_program: tests/threads_program.c $(BUILD)/lib/libconsistency.so
	@mkdir -p $(@D)
	$(CC) $(TEST_FLAGS) -rdynamic -o $@ $< -L$(BUILD)/lib -lconsistency -Wl,-rpath,'$$ORIGIN/../lib' -ldl -pthread
$(BUILD)/tests/handles_program: tests/handles_program.c $(BUILD)/lib/libconsistency.so
	@mkdir -p $(@D)
	$(CC) $(TEST_FLAGS) $(LDFLAGS) -o $@ $< -L$(BUILD)/lib -lconsistency -Wl,-rpath,'$$ORIGIN/../lib' -pthread
$(BUILD)/tests/bench_threads: tests/bench_threads.c $(BUILD)/lib/libconsistency.so
	@mkdir -p $(@D)
	$(CC) $(TEST_FLAGS) -o $@ $< -L$(BUILD)/lib -lconsistency -Wl,-rpath,'$$ORIGIN/../lib'
$(BUILD)/tests/two_samplers: tests/two_samplers.c $(BUILD)/lib/libconsistency.so
	@mkdir -p $(@D)
	$(CC) $(TEST_FLAGS) -o $@ $< -L$(BUILD)/lib -lconsistency -Wl,-rpath,'$$ORIGIN/../lib'
$(BUILD)/tests/yardstick: tests/yardstick.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -O3 -march=native -ffp-contract=fast -Wall -Wextra -fopenmp -o $@ $<
$(BUILD)/tests/train_program: tests/train_program.c $(BUILD)/lib/libconsistency.so
	$(CC) $(TEST_FLAGS) -o $@ $< -L$(BUILD)/lib -lconsistency -Wl,-rpath,'$$ORIGIN/../lib'
$(BUILD)/tests/exit_program: tests/exit_program.c $(BUILD)/lib/libconsistency.so
	$(CC) $(TEST_FLAGS) -o $@ $< -L$(BUILD)/lib -lconsistency -pthread -Wl,-rpath,'$$ORIGIN/../lib'
$(BUILD)/tests/dlopen: tests/dlopen.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_DEFAULT_SOURCE -O1 -o $@ $< -ldl

check-scripts: all $(if $(PLUGIN),$(BUILD)/tests/mpi_steps) $(BUILD)/tests/make_weights $(BUILD)/tests/info_files $(BUILD)/tests/shim.so $(BUILD)/tests/fault_program $(BUILD)/tests/make_model $(BUILD)/tests/train_program $(BUILD)/tests/dlopen $(BUILD)/tests/exit_program $(BUILD)/tests/threads_program $(BUILD)/tests/catalogue_program
	@sh tests/layers.sh
	@$(PYTHON) tests/operations_covered.py
	@sh tests/format.sh
	@$(PYTHON) tests/docs.py $(BUILD)
	@CONSISTENCY_BUILD=$(BUILD) $(PYTHON) tests/published.py
	@CONSISTENCY_BUILD=$(BUILD) $(PYTHON) tests/option_tables.py
	@sh tests/symbols.sh $(SHARED) $(STATIC)
	@$(BUILD)/tests/dlopen $(SHARED)
	@bash tests/faults.sh $(BUILD)
	@PYTHON=$(PYTHON) bash tests/threads.sh $(BUILD)
	@bash tests/address_space.sh $(BUILD)
	@bash tests/exit.sh $(BUILD)
	@bash tests/programs.sh $(BUILD)
	@$(PYTHON) tests/man_pages.py $(BUILD)
	@$(PYTHON) tests/gallery.py $(BUILD)
	@bash tests/completion.sh $(BUILD)
	@$(PYTHON) tests/reference.py $(BUILD)
	@bash tests/searching.sh $(BUILD)
	@PYTHON=$(PYTHON) sh tests/mpi.sh $(BUILD) 0
	@bash tests/data_program.sh $(BUILD)
	@$(PYTHON) tests/auto_plan.py $(BUILD)
	@$(PYTHON) tests/photographs.py $(BUILD)
	@$(PYTHON) tests/data_sets.py $(BUILD)
	@$(INFO_FILES) tests/data/golden/checkpoints
	@$(PYTHON) tests/catalogue.py $(BUILD)
	@bash tests/install.sh "$(MAKE)" $(BUILD)
	@$(PYTHON) tests/kill_resume.py $(BUILD) --trials 20 --steps 60 --stops 6
	@CONSISTENCY_BUILD=$(BUILD) $(PYTHON) tests/python_symbols.py $(SHARED)
	@CONSISTENCY_BUILD=$(BUILD) $(PYTHON) tests/headers.py $(BUILD)
	@CONSISTENCY_BUILD=$(BUILD) $(PYTHON) tests/python_test.py
	@CONSISTENCY_BUILD=$(BUILD) $(PYTHON) tests/python_test.py --no-numpy

# The wheel in fresh environments; PYTHONS: those to try it with.  And what `make dist` writes, made twice.
PYTHONS ?= $(PYTHON)
.PHONY: check-wheel check-release check-linking
check-wheel:
	@rm -rf $(BUILD)/dist
	@$(MAKE) -s wheel DIST=$(BUILD)/dist >/dev/null
	@$(PYTHON) tests/wheel.py $(BUILD)/dist/*manylinux*.whl $(PYTHONS)
	@$(MAKE) -s wheel DIST=$(BUILD)/dist BUNDLE=none >/dev/null
	@$(PYTHON) tests/wheel.py $(BUILD)/dist/*-linux_*.whl $(PYTHONS)
check-release: check-wheel
	@bash tests/release.sh "$(MAKE)"
# The source archive as pip builds it, with the libraries of the system: minutes of compiling for each Python.
.PHONY: check-sdist
check-sdist:
	@rm -rf $(BUILD)/sdist
	@$(MAKE) -s dist DIST=$(BUILD)/sdist >/dev/null
	@$(PYTHON) tests/wheel.py $(BUILD)/sdist/*.tar.gz $(PYTHONS)
# The small archive, Meson, and the library without oneDNN.
check-linking: all
	@bash tests/single.sh "$(MAKE)" $(BUILD)
	@bash tests/meson.sh "$(MAKE)" $(BUILD)
	@bash tests/no_onednn.sh "$(MAKE)" $(BUILD)

# The Debian packages of what is committed, built, checked by lintian, and installed, tried and removed in a root of
# their own; as root, with mmdebstrap and lintian.
.PHONY: check-deb
check-deb: deb
	@bash tests/debian.sh $(DEB)

# The packages once more, in a folder of another name, with another umask, time zone and locale: they have the same bytes.
.PHONY: check-deb-twice
check-deb-twice: deb
	@rm -rf $(BUILD)/deb-twice && git clone -q . $(BUILD)/deb-twice
	@(umask 077; TZ=Asia/Tokyo LC_ALL=C.UTF-8 $(MAKE) -s -C $(BUILD)/deb-twice deb) >$(BUILD)/deb-twice.log 2>&1 || { tail -20 $(BUILD)/deb-twice.log; exit 1; }
	@for deb in $(DEB)/*.deb; do cmp $$deb $(BUILD)/deb-twice/$$deb || exit 1; done
	@echo "deb: $$(ls $(DEB)/*.deb | wc -l) packages are the same from two folders"

# The programs of embed/, as far as their tools are here: SDL2, Xvfb and xdotool; libmicrohttpd and Chromium; rustc; Mono;
# emscripten.  PARTS names some of them.
PARTS ?=
.PHONY: check-embed
check-embed: all
	@MAKE="$(MAKE)" PYTHON=$(PYTHON) bash tests/embed.sh $(BUILD) $(PARTS)

.PHONY: check-format
check-format:
	@sh tests/format.sh

# What did not run here is told apart from what passed.
SKIPS := $(BUILD)/skips.txt
.PHONY: forget-skips
forget-skips:
	@mkdir -p $(BUILD) && : > $(SKIPS)
check: export CHECK_SKIPS = $(CURDIR)/$(SKIPS)
# What goes through its commands one after the other comes first, so that the many programs fill the other processors.
check: forget-skips check-scripts trust-sample check-units check-data check-corpus
	@echo "all checks that ran passed; $$(wc -l < $(SKIPS)) were skipped:"; sed 's/^/  /' $(SKIPS)

# --- sanitizers, valgrind, the other oneDNN ------------------------------------------

SAN := -fsanitize=address,undefined -fno-sanitize-recover=all
# Leaks inside libgomp's pool and oneDNN are theirs and bounded.
check-san:
	$(MAKE) BUILD=$(BUILD)/san FORTIFY= CFLAGS="-O1 -g $(SAN) -Wno-frame-larger-than" LDFLAGS="$(SAN)" \
	    LSAN_OPTIONS=suppressions=$(CURDIR)/tests/lsan.supp ASAN_OPTIONS=allocator_may_return_null=1 check-units check-data check-corpus

# valgrind 3.19 knows no AVX-512 and shows a CPU without it.  The library gets no thread
# of its own: with one, one run of two called every register of the second thread
# uninitialised once it had run code that oneDNN generates (__tls_get_addr and
# memset included), which says nothing about us.  libjpeg-turbo's vector code computes
# values behind a row's end, so its plain code runs here.
$(BUILD)/tests/one_thread.so: tests/one_thread.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -O1 -Wall -Wextra -fPIC -shared -o $@ $< -ldl
VALGRIND = env JSIMD_FORCENONE=1 LD_PRELOAD=$(CURDIR)/$(BUILD)/tests/one_thread.so valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite --show-leak-kinds=definite \
            --suppressions=tests/valgrind.supp
VALGRINDS := $(addprefix valgrind-,base io pictures picture_parts json tensors pickle pickle_symbols zip_directory torch_views torch_files edm_notes schedules levels method_options state_basics state_files msgpack flax_rules npy packed tar raw_sets listed images load formats networks kernels ops convs graph configs edit edit_calls data sets folders transforms metrics features lpips metric_files train api guest)
.PHONY: $(VALGRINDS)
check-valgrind: $(VALGRINDS)
$(VALGRINDS): export CK_FORK = no
$(filter-out valgrind-base,$(VALGRINDS)): export CHECK_EFFORT = short
valgrind-graph: export CK_RUN_CASE = graph
valgrind-edit valgrind-edit_calls valgrind-train: export CK_RUN_CASE = small
$(VALGRINDS): valgrind-%: $(BUILD)/tests/check_% $(BUILD)/tests/one_thread.so
	$(VALGRIND) $<

check-long: all $(UNIT_PROGRAMS) $(if $(PLUGIN),$(BUILD)/tests/mpi_steps) $(BUILD)/tests/one_thread.so $(BUILD)/tests/golden/golden $(BUILD)/tests/shim.so $(BUILD)/tests/train_program
	CHECK_EFFORT=long $(BUILD)/tests/check_kernels
	CHECK_EFFORT=long $(BUILD)/tests/check_ops
	CHECK_EFFORT=long $(BUILD)/tests/check_convs
	CHECK_EFFORT=long $(BUILD)/tests/check_api
	CHECK_EFFORT=long $(BUILD)/tests/check_guest
	CHECK_EFFORT=long $(BUILD)/tests/check_train
	CHECK_EFFORT=long $(BUILD)/tests/check_train_state
	CHECK_EFFORT=long $(BUILD)/tests/check_train_memory
	CHECK_EFFORT=long $(BUILD)/tests/check_trainer_calls
	CHECK_EFFORT=long $(BUILD)/tests/check_zip
	CHECK_EFFORT=long $(BUILD)/tests/check_damage
	@if [ -d $(GOLDEN)/checkpoints ]; then CHECKPOINTS=$(GOLDEN)/checkpoints CHECK_EFFORT=long $(BUILD)/tests/check_damage; fi
	CK_FORK=no CHECK_EFFORT=short CK_RUN_CASE=gradients $(VALGRIND) $(BUILD)/tests/check_graph
	CK_FORK=no CHECK_EFFORT=short CK_RUN_CASE=steps $(VALGRIND) $(BUILD)/tests/check_train
	PYTHON=$(PYTHON) sh tests/mpi.sh $(BUILD) 3
	$(PYTHON) tests/kill_resume.py $(BUILD) --trials 200 --steps 500 --stops 50
	$(PYTHON) tests/auto_plan.py $(BUILD) --kills 40 --budget 40
	CONSISTENCY_BUILD=$(BUILD) $(PYTHON) tests/published.py --memory
	@if [ -d $(GOLDEN)/networks ]; then $(BUILD)/tests/golden/golden -v $(GOLDEN) networks; \
	else echo "check-long: $(GOLDEN) is absent, the full-size networks were not run"; fi

# Processes that die at 50 random moments each, stand still or differ; networks that are slow, lose packets or are cut; Slurm.
.PHONY: check-mpi
check-mpi: all $(if $(PLUGIN),$(BUILD)/tests/mpi_steps)
	PYTHON=$(PYTHON) sh tests/mpi.sh $(BUILD) 100
	$(PYTHON) tests/mpi_network.py $(BUILD)
	sh tests/slurm.sh $(BUILD)

# Files of torch, diffusers, flax and safetensors read by ours, and ours by them: PYTHON has those packages.
.PHONY: check-writers
check-writers: all $(BUILD)/tests/make_model
	CONSISTENCY_BUILD=$(BUILD) $(PYTHON) tests/check_writers.py

# The metrics beside those of pytorch-fid, clean-fid, torch-fidelity, scikit-learn, prdc, lpips, piq and scikit-image.
.PHONY: check-metric-peers
check-metric-peers: all
	CONSISTENCY_BUILD=$(BUILD) $(PYTHON) tests/metrics_peers.py

# oneDNN 3.x for the OpenMP of gcc, from the package index that pip uses here.
ONEDNN3 := $(BUILD)/onednn3
$(ONEDNN3)/lib/libdnnl.so:
	@mkdir -p $(ONEDNN3)/wheels
	@$(PYTHON) -m pip download -q --no-deps -d $(ONEDNN3)/wheels onednn-cpu-gomp onednn-devel-cpu-gomp || \
	    { echo "check-onednn3: no package index is reachable: not run"; exit 1; }
	@cd $(ONEDNN3) && for w in wheels/*.whl; do $(PYTHON) -m zipfile -e $$w unpacked; done
	@mkdir -p $(ONEDNN3)/lib && cp -rL $$(dirname $$(find $(ONEDNN3)/unpacked -type d -name oneapi | head -1)) $(ONEDNN3)/
	@cp -L $$(find $(ONEDNN3)/unpacked -name 'libdnnl.so.3') $(ONEDNN3)/lib/libdnnl.so.3 && ln -sf libdnnl.so.3 $@
check-onednn3: $(ONEDNN3)/lib/libdnnl.so
	$(MAKE) BUILD=$(ONEDNN3)/build DNNL_PREFIX=$(CURDIR)/$(ONEDNN3) check-units check-data check-golden

# The suite with oneDNN, and so our kernels, capped to smaller instruction sets.
check-isa: $(UNIT_PROGRAMS)
	for isa in AVX2 SSE41; do \
	    ONEDNN_MAX_CPU_ISA=$$isa $(MAKE) --no-print-directory $(addprefix run-check_,kernels ops convs graph sampler) check-data || exit 1; done

# Another compiler, every warning an error.
check-clang:
	$(MAKE) BUILD=$(BUILD)/clang CC=clang CFLAGS="-O2 -g -Werror" all check-units

# Frechet distances of 10,000 digits; DATA has the feature network (needs numpy).
DATA ?= ../shared/data
.PHONY: fd-digits fd-models
fd-digits: all
	CONSISTENCY_BUILD=$(BUILD) $(PYTHON) tests/fd_digits.py $(DATA)
fd-models: all
	CONSISTENCY_BUILD=$(BUILD) $(PYTHON) tests/fd_digits.py $(DATA) --model models/digits.safetensors models/digits_teacher.safetensors --sigmas 80,0.982

# The full-size network in every format; PEER: a Python with torch, safetensors and diffusers.
PEER ?=
.PHONY: load-bench
load-bench: all $(BUILD)/tests/make_model
	$(PYTHON) tests/load_bench.py $(BUILD) $(if $(PEER),--peer $(PEER))

# Feature networks, ours and those of a Python with torch.
.PHONY: bench-metrics
bench-metrics: all $(BUILD)/tests/make_weights $(BUILD)/tests/bench_metrics
	$(PYTHON) tests/bench_metrics.py $(BUILD) $(if $(PEER),--peer $(PEER)) $(if $(ROUNDS),--rounds $(ROUNDS))

# PEERS: Pythons that have torch; without any, ours is timed alone.
PEERS ?=
bench: all $(BUILD)/tests/make_model $(BUILD)/tests/bench_train $(BUILD)/tests/two_samplers $(BUILD)/tests/yardstick $(BUILD)/tests/op_times
	$(PYTHON) tests/bench.py $(BUILD) --peer $(PEERS)

# Value and tangent of the CIFAR-10 network beside the value alone, and training steps that need one beside an ordinary
# step; beside PyTorch where PEER names a Python.
.PHONY: bench-jvp bench-train-jvp
bench-jvp bench-train-jvp: $(BUILD)/tests/bench_jvp $(BUILD)/tests/make_model
	$(PYTHON) tests/bench_jvp.py $(BUILD) $(if $(PEER),--peer $(PEER)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(filter bench-train-jvp,$@),--steps --dropout 0.2)

# One rank of one thread beside two; it needs two idle processors and about ten minutes.
.PHONY: bench-mpi
bench-mpi: all
	$(PYTHON) tests/bench_mpi.py $(BUILD) $(if $(ROUNDS),--rounds $(ROUNDS))

# Bits of samples and of training steps, to be compared with those of another build.
.PHONY: digests
digests: all $(BUILD)/tests/make_model
	$(PYTHON) tests/digests.py $(BUILD) > $(BUILD)/digests.txt

# --- fuzzing -------------------------------------------------------------------------
# make check replays the corpora, whole and damaged; make fuzz runs libFuzzer, FUZZ_SECONDS a target (FUZZ="torch flax"
# chooses), and prints executions and coverage.

FUZZ := safetensors torch checkpoint pickle edm flax diffusers model picture config dataset npy options zip json state cli api
FUZZ_SECONDS ?= 900
FUZZ_DICTIONARY = $$(for d in tests/fuzz/$$t.dict; do [ -f $$d ] && echo -dict=$$d; done)
corpus_files = $(wildcard tests/fuzz/corpus/$(1)/*)
corpus_safetensors = $(wildcard tests/data/golden/checkpoints/*st_*.safetensors) $(call corpus_files,safetensors)
corpus_torch       = $(wildcard tests/data/golden/checkpoints/*.pt) $(call corpus_files,torch)
corpus_checkpoint  = $(corpus_torch)
$(foreach t,$(filter-out safetensors torch checkpoint flax,$(FUZZ)),$(eval corpus_$(t) = $(call corpus_files,$(t))))
corpus_flax        = $(wildcard tests/data/golden/checkpoints/*flax*.msgpack) $(call corpus_files,flax)

# The readers of command lines that the programs share, with exit() going back to the target.
fuzz_more_cli = $(patsubst %,$(BUILD)/tests/fuzz/of-cli/%.o,cli cli_values cli_progress cli_json cli_files cli_completion listing)
$(BUILD)/tests/fuzz/of-cli/%.o: examples/%.c
	@mkdir -p $(@D)
	$(CC) $(TEST_FLAGS) -include stdlib.h -Dexit=fuzz_exit -c -o $@ $<

define FUZZ_RULE
$$(BUILD)/tests/replay-$(1): $$(BUILD)/tests/fuzz/$(1).o $$(BUILD)/tests/fuzz/replay.o $$(fuzz_more_$(1)) $$(BUILD)/tests/support/memory.o $$(INTERNAL)
	$$(CC) $$(CFLAGS) $$(LDFLAGS) -fopenmp -o $$@ $$(filter %.o,$$^) $$(TEST_LINK)
$$(BUILD)/fuzz-$(1): $$(BUILD)/tests/fuzz/$(1).o $$(fuzz_more_$(1)) $$(BUILD)/tests/support/memory.o $$(INTERNAL)
	$$(CC) $$(CFLAGS) -fsanitize=fuzzer,address,undefined -fopenmp -o $$@ $$(filter %.o,$$^) $$(TEST_LINK)
endef
$(foreach t,$(FUZZ),$(eval $(call FUZZ_RULE,$(t))))

.PHONY: check-corpus fuzz
check-corpus: $(FUZZ:%=replay-corpus-%)
.PHONY: $(FUZZ:%=replay-corpus-%) $(FUZZ:%=print-corpus-%)
define REPLAY_RULE
replay-corpus-$(1): $$(BUILD)/tests/replay-$(1)
	@FUZZ_QUIET=1 $$< $$(corpus_$(1))
print-corpus-$(1):
	@echo $$(corpus_$(1))
endef
$(foreach t,$(FUZZ),$(eval $(call REPLAY_RULE,$(t))))

FUZZ_FLAGS := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize=function -fno-sanitize-recover=all \
              -Wno-frame-larger-than -Wno-pass-failed
# Freed blocks that AddressSanitizer keeps count towards the limit of memory: half of it by its default.
FUZZ_ASAN := ASAN_OPTIONS=quarantine_size_mb=64
fuzz:
	$(MAKE) BUILD=$(BUILD)/fuzz CC=clang FORTIFY= KERNEL_FLAGS="-O2 -fno-sanitize=all" CFLAGS="$(FUZZ_FLAGS)" fuzz-run
.PHONY: fuzz-run
fuzz-run: $(FUZZ:%=$(BUILD)/fuzz-%)
	for t in $(FUZZ); do mkdir -p $(BUILD)/corpus/$$t; done
	$(foreach t,$(FUZZ),cp $(corpus_$(t)) $(BUILD)/corpus/$(t)/ &&) true
	for t in $(FUZZ); do $(FUZZ_ASAN) $(BUILD)/fuzz-$$t -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=512 -max_len=32768 \
	    $(FUZZ_DICTIONARY) $$([ $$t = cli ] && echo -close_fd_mask=3) -print_final_stats=1 -artifact_prefix=$(BUILD)/ $(BUILD)/corpus/$$t > $(BUILD)/fuzz-$$t.log 2>&1 || \
	    { tail -40 $(BUILD)/fuzz-$$t.log; exit 1; }; \
	    echo "fuzz $$t: $$(sed -n 's/^#[0-9]*[[:space:]]*DONE *//p; s/^stat::number_of_executed_units: */executions /p' $(BUILD)/fuzz-$$t.log | tr '\n' ' ')"; done

# The same over days: rounds of FUZZ_SECONDS a target, the quick ones first; corpora, findings and the sum of all
# executions stay in FUZZ_FOLDER, outside of the tree.
FUZZ_FOLDER ?= $(HOME)/.cache/consistency-fuzz
FUZZ_ROUNDS ?= 1000
FUZZ_QUICK := json npy picture config cli safetensors zip pickle flax torch checkpoint edm options dataset model diffusers state api
.PHONY: fuzz-campaign fuzz-campaign-run
fuzz-campaign:
	$(MAKE) BUILD=$(BUILD)/fuzz CC=clang FORTIFY= KERNEL_FLAGS="-O2 -fno-sanitize=all" CFLAGS="$(FUZZ_FLAGS)" fuzz-campaign-run
fuzz-campaign-run: $(FUZZ:%=$(BUILD)/fuzz-%)
	@for t in $(FUZZ); do mkdir -p $(FUZZ_FOLDER)/corpus/$$t; done
	@$(foreach t,$(FUZZ),cp $(corpus_$(t)) $(FUZZ_FOLDER)/corpus/$(t)/ &&) true
	@bash tests/trust/campaign.sh $(BUILD) $(FUZZ_FOLDER) $(FUZZ_SECONDS) $(FUZZ_ROUNDS) $(FUZZ_QUICK)

# --- the memory of the process --------------------------------------------------------------

$(BUILD)/tests/malloc_shim.so: tests/malloc_shim.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -O1 -Wall -Wextra -fno-builtin -fPIC -shared -o $@ $<
$(BUILD)/tests/process_memory: tests/process_memory.c $(OPERATIONS) $(BUILD)/lib/libconsistency.so
	@mkdir -p $(@D)
	$(CC) $(TEST_FLAGS) -o $@ $< $(OPERATIONS) -L$(BUILD)/lib -lconsistency -lm -ldl -Wl,-rpath,'$$ORIGIN/../lib'

include tests/trust/trust.mk
include tests/trust/matrix.mk
