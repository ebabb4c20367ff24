# libconsistency: one Makefile, explicit lists, no recursion.
#
#   make [all]         library (shared, static) and programs under build/
#   make check         unit tests, layering, symbols, headers, Python, install
#   make check-long    full-size networks, every allocation failure, statistics
#   make check-golden  GOLDEN=DIR: every case found under DIR
#   make check-san     the unit suite under ASan+UBSan;  check-valgrind likewise
#   make check-matrix  other compilations of it, MemorySanitizer, and analysers over src
#   make check-embed   the programs of embed/, as far as their tools are here
#   make check-mpi     what several processes do when one dies, stands still or differs, and when their network fails
#   make check-format  every file as clang-format 14 lays it out
#   make check-onednn3 the suite against a oneDNN 3.x that it fetches
#   make bench         timings (BENCH_JSON=FILE writes them as JSON)
#   make bench-jvp     value and tangent beside the value alone, and beside PyTorch
#   make bench-mpi     two ranks of one thread beside one: training, cm-sample, cm-eval
#   make bench-train-jvp   training steps that need a tangent beside an ordinary one
#   make demo          pages of digits under build/demo
#   make install       DESTDIR, PREFIX, LIBDIR, INCLUDEDIR, BINDIR, DATADIR, MANDIR respected
#   make reference     the C interface as pages under build/reference/html, by doxygen
#   make deb           Debian packages of what is committed, under build/deb
#   make single        one archive that only draws and edits, build/lib/libconsistency-inference.a, below 2 MB
#   make wheel         the Python package with all that it needs, dist/*.whl (BUNDLE=none: without)
#   make dist          the source, dist/*.tar.gz, which pip takes too; its contents (SBOM) and checksums
#   make uninstall abi-check format clean
#
# BUILD=dir builds elsewhere; DNNL_PREFIX=dir uses another oneDNN; DNNL=none does without (docs/building.md).

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:

CC      ?= gcc
AR      ?= ar
LD      ?= ld
OBJCOPY ?= objcopy
PKG_CONFIG ?= pkg-config
PYTHON  ?= python3
CFLAGS  ?= -O2 -g
BUILD   ?= build
GOLDEN  ?= ../shared/golden

PREFIX     ?= /usr/local
LIBDIR     ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
BINDIR     ?= $(PREFIX)/bin
DATADIR    ?= $(PREFIX)/share/consistency
CMAKEDIR   ?= $(LIBDIR)/cmake/consistency
MANDIR     ?= $(PREFIX)/share/man
BASHDIR    ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR     ?= $(PREFIX)/share/zsh/site-functions
FISHDIR    ?= $(PREFIX)/share/fish/vendor_completions.d

# base.h is the only place the version is written.
version = $(shell sed -n 's/^.define CM_VERSION_$(1) *//p' include/consistency/base.h)
MAJOR := $(call version,MAJOR)
MINOR := $(call version,MINOR)
PATCH := $(call version,PATCH)
VERSION := $(MAJOR).$(MINOR).$(PATCH)
SONAME := libconsistency.so.$(MAJOR)

# --- flags -------------------------------------------------------------------

DEPS := lapack jansson libjpeg libpng zlib libzip libxxhash
DEP_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(DEPS) 2>/dev/null)
DEP_LIBS   := $(shell $(PKG_CONFIG) --libs $(DEPS) 2>/dev/null || echo -llapack -ljansson -ljpeg -lpng -lz -lzip -lxxhash)
# STATIC_LIBS: what a program needs beside the archive.  oneDNN's own archive is C++ and takes OpenMP.
DNNL ?=
ifeq ($(DNNL),none)
STATIC_LIBS := $(DEP_LIBS)
else ifeq ($(DNNL),)
DNNL_CFLAGS := $(DNNL_PREFIX:%=-isystem %/include)
DNNL_LIBS   := $(DNNL_PREFIX:%=-L%/lib -Wl,-rpath,%/lib) -ldnnl
STATIC_LIBS := -ldnnl $(DEP_LIBS) -lstdc++ -lgomp
else
$(error DNNL is none or not given; DNNL_PREFIX names the folder of a oneDNN)
endif

# What a file is compiled to names no folder of this machine.
NO_FOLDER := -ffile-prefix-map="$(CURDIR)"=.
# Under a fixed floating-point contract: no contraction outside the kernels, so
# that results do not depend on the compiler's default; never -ffast-math.
WARN  := -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wframe-larger-than=16384
BASE  := $(WARN) -fvisibility=hidden -fno-semantic-interposition -fstack-protector-strong \
         -ffp-contract=off -fPIC -fopenmp-simd -MMD -MP -Iinclude -Isrc \
         $(NO_FOLDER) -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE
FORTIFY ?= -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
ALL_CFLAGS   = -std=c11 $(BASE) $(FORTIFY) $(DEP_CFLAGS) $(DNNL_CFLAGS) $(CPPFLAGS) $(CFLAGS)
KERNEL_FLAGS := -O3 -fno-math-errno -fno-trapping-math
ALL_LIBS = $(DNNL_LIBS) $(DEP_LIBS) -lm -pthread
comma := ,
SO_FLAGS = -shared -Wl,-soname,$(SONAME) -Wl,--version-script,lib/libconsistency.map -Wl,-z,now -Wl,-z,relro \
           -Wl,-z,nodelete -Wl,--no-undefined -Wl,--as-needed

# --- what there is -------------------------------------------------------------

HEADERS := base model checkpoint sampler edit image dataset group trainer run metrics
BASE_C    := status number utf8 json hint choice context call options cpus thread pool parallel turns rng torch_rng
TENSOR_C  := convert finite images
DNNL_C    := $(or $(DNNL),backend)
IO_C      := file directory foreign json_text json_tree input tensors foreign_folder recast write_tensors zip_write torch_write folder_writer diffusers diffusers_names diffusers_config diffusers_files diffusers_write nonfinite safetensors pickle pickle_machine pickle_opcodes pickle_symbols zip_directory torch torch_choice torch_data torch_zip torch_legacy torch_modules edm_pickle edm_network msgpack flax flax_tree quoted picture orient jpeg png note gunzip zip npy npz
KERNELS_C := dispatch
CONV_C    := conv winograd winograd_gradient amx few_outputs patches
ATTENTION_C := attention_f32 attention_amx
OPS_C     := conv2d linear groupnorm attention arith concat fir embed dropout relu pool resize standardize distance speed unit_norm modulate clamp balance ones fourier space_to_depth
GRAPH_C   := arithmetic graph params arena program lifetimes plan weights gradients exec
NETS_C    := fields config edm_config fold layers init net recognise absent published names adm adm_names edm_block edm_tensors edm_names flax_names songunet dhariwal edm2 edm2_names unit_rows checkpoint feature_net lenet cifar_resnet inception perceptual vgg alexnet squeezenet bind mismatch nearest export export_diffusers adm_diffusers
DIFFUSION_C := condition schedule weighting precond classes defaults model model_graph model_file inspect inspect_check inputs denoiser solver methods method_consistency \
               method_ode method_edm method_dpmpp rk45 method_rk45 method_pc method_flowmap option_checks levels times noise edit_tasks edit interpolate sampler sampler_run sampler_below likelihood
DATA_C    := source names listing folder tar idx cifar zipset npzset resize fit noise_level class_order class_names labels label_json label_folders colours dataset check tar_write pack headings loader augment
TRAIN_C   := class_names averages distance perceptual_distance optim ema curriculum objective objective_edm objective_consistency objective_progdist \
             objective_ict objective_ect objective_continuous objective_scm objective_meanflow objective_soflow objective_cmt objective_tcm truncated weight_net axis \
             option_rows settings settings_json settings_check presets peers share gradient_sum together split learner learner_slice learner_peers learner_weights trainer trainer_step trainer_data \
             state_parts state_save state_resume state_compare phema reconstruct
METRICS_C := tiles weights_hash features features_file lpips samples statistics statistics_file frechet inception_score pairs neighbours kernel_distance subsets search
RUN_C     := text memory files pages metric best options config inputs estimate result ranks run
API_C     := base layout choices model denoise likelihood checkpoint sampler edit image image_coding dataset group trainer train_options run metrics
PROGRAMS  := cm-sample cm-edit cm-info cm-convert cm-train cm-eval cm-data

SOURCES := $(BASE_C:%=base/%) $(TENSOR_C:%=tensor/%) $(DNNL_C:%=dnnl/%) $(IO_C:%=io/%) \
           $(KERNELS_C:%=kernels/%) $(CONV_C:%=conv/%) $(ATTENTION_C:%=attention/%) $(OPS_C:%=ops/%) \
           $(GRAPH_C:%=graph/%) $(NETS_C:%=nets/%) $(DIFFUSION_C:%=diffusion/%) \
           $(DATA_C:%=data/%) $(TRAIN_C:%=train/%) $(METRICS_C:%=metrics/%) $(RUN_C:%=run/%) $(API_C:%=api/%)
LEVELS  := baseline avx2 avx512
EACH_LEVEL := pointwise sums_f64 gemm_f32 gemm_bf16 winograd_f32 winograd_bf16
KERNELS := $(foreach kind,$(EACH_LEVEL),$(LEVELS:%=$(kind)-%)) gemm_bf16-native winograd_bf16-native bf16-plain bf16-amx
OBJECTS := $(SOURCES:%=$(BUILD)/obj/%.o) \
           $(KERNELS:%=$(BUILD)/obj/kernels/%.o)
SHARED  := $(BUILD)/lib/libconsistency.so.$(VERSION)
STATIC  := $(BUILD)/lib/libconsistency.a
INTERNAL := $(BUILD)/obj/libconsistency-internal.a

# The plugin for MPI, where there is one; MPI_PC names it where there are several: ompi-c or mpich.
MPI_PC ?= $(firstword $(foreach each,mpi-c ompi-c mpich,$(shell $(PKG_CONFIG) --exists $(each) 2>/dev/null && echo $(each))))
PLUGIN_SONAME := libconsistency-mpi.so.$(MAJOR)
PLUGIN := $(if $(MPI_PC),$(BUILD)/lib/libconsistency-mpi.so.$(VERSION))

.PHONY: all check check-fast check-long check-golden check-san check-valgrind check-onednn3 bench demo install \
        uninstall dist abi-check abi-baseline format clean programs
.DELETE_ON_ERROR:

all: $(SHARED) $(STATIC) $(BUILD)/lib/libconsistency.so $(BUILD)/lib/consistency.pc programs completions $(PLUGIN)
programs: $(PROGRAMS:%=$(BUILD)/bin/%)

# --- library -------------------------------------------------------------------

# Made anew where the last build in this folder was with the other oneDNN, or with none.
WITH := $(BUILD)/obj/with-$(or $(DNNL),onednn)
$(WITH):
	@mkdir -p $(@D)
	@rm -f $(@D)/with-* && touch $@

$(BUILD)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(EXTRA) -c -o $@ $<

# The kernels, once a CPU level; contraction to FMA is part of what they compute.
%-baseline.o: CM_LANES := 4
%-avx2.o:     CM_LANES := 8
%-avx512.o:   CM_LANES := 16
%-native.o:   CM_LANES := 16
%-avx2.o:     MACHINE := -mavx2 -mfma -mf16c -ffp-contract=fast
AVX512 := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c -mprefer-vector-width=512 -ffp-contract=fast
%-avx512.o:   MACHINE := $(AVX512)
%-native.o:   MACHINE := $(AVX512) -mavx512bf16
%-amx.o:      MACHINE := $(AVX512) -mavx512bf16 -mamx-tile -mamx-bf16
define KERNEL_RULE
$(BUILD)/obj/kernels/$(1)-%.o: src/kernels/$(1).c
	@mkdir -p $$(@D)
	$$(CC) $$(ALL_CFLAGS) $$(KERNEL_FLAGS) $$(MACHINE) -DCM_TABLE=cmi_$(1)_$$* -DCM_LANES=$$(CM_LANES) -c -o $$@ $$<
endef
$(foreach kind,$(EACH_LEVEL) bf16,$(eval $(call KERNEL_RULE,$(kind))))

$(SHARED): $(OBJECTS) lib/libconsistency.map $(WITH)
	@mkdir -p $(@D)
	$(CC) $(SO_FLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $(OBJECTS) $(ALL_LIBS)
	ln -sf libconsistency.so.$(VERSION) $(BUILD)/lib/$(SONAME)
# For a wheel: what it bundles stands in a folder beside the package.
$(BUILD)/wheel/$(SONAME): $(OBJECTS) lib/libconsistency.map $(WITH)
	@mkdir -p $(@D)
	$(CC) $(SO_FLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $(OBJECTS) $(filter-out -Wl$(comma)-rpath%,$(ALL_LIBS)) \
	    -Wl,--disable-new-dtags,-rpath,'$$ORIGIN/../libconsistency.libs'
$(BUILD)/lib/libconsistency.so: $(SHARED)
	ln -sf libconsistency.so.$(VERSION) $@
# One object whose internal symbols are local: what a program links statically cannot be taken for its own.
$(STATIC): $(OBJECTS) $(WITH)
	@mkdir -p $(@D)
	$(LD) -r --force-group-allocation -o $(BUILD)/obj/libconsistency.o $(OBJECTS)
	$(OBJCOPY) --localize-hidden $(BUILD)/obj/libconsistency.o
	rm -f $@
	$(AR) rcD $@ $(BUILD)/obj/libconsistency.o
# One archive that only draws and edits: what the calls of these headers reach, without what trains and measures.
INFERENCE_HEADERS := base model checkpoint sampler edit image
open := (
INFERENCE_CALLS := $(shell cat $(INFERENCE_HEADERS:%=include/consistency/%.h) | tr '\n' ' ' | grep -oE 'CM_API [^;$(open)]*[$(open)]' | grep -oE '\<cm_\w+[$(open)]' | tr -d '$(open)')
INFERENCE := $(BUILD)/lib/libconsistency-inference.a
.PHONY: single
single: $(INFERENCE) $(BUILD)/lib/consistency-inference.pc
$(BUILD)/obj/inference/choices.o: src/api/choices.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -DCM_INFERENCE -c -o $@ $<
$(INFERENCE): $(OBJECTS) $(BUILD)/obj/inference/choices.o $(WITH)
	@mkdir -p $(@D)
	$(LD) -r --gc-sections --force-group-allocation $(INFERENCE_CALLS:%=-u %) -o $(BUILD)/obj/libconsistency-inference.o \
	    $(filter-out $(BUILD)/obj/api/choices.o,$(OBJECTS)) $(BUILD)/obj/inference/choices.o
	$(OBJCOPY) --localize-hidden $(BUILD)/obj/libconsistency-inference.o
	$(OBJCOPY) --strip-unneeded $(BUILD)/obj/libconsistency-inference.o
	rm -f $@
	$(AR) rcD $@ $(BUILD)/obj/libconsistency-inference.o
# What pkg-config is told: $(call say,WORDS OF SED) from the templates of pkgconfig/.
# Not empty where two names differ; both may have blanks.
elsewhere = $(subst x$(1)x,,x$(2)x)
say = sed -e 's|@PREFIX@|$(subst &,\&,$(PREFIX))|' -e 's|@LIBDIR@|$(subst &,\&,$(LIBDIR))|' -e 's|@INCLUDEDIR@|$(subst &,\&,$(INCLUDEDIR))|' -e 's|@VERSION@|$(VERSION)|' \
    -e 's|@DEP_LIBS@|$(STATIC_LIBS)|' -e 's|@MPI_PC@|$(MPI_PC)|' $(1)
$(BUILD)/lib/consistency-inference.pc: pkgconfig/consistency.pc.in Makefile include/consistency/base.h $(WITH)
	@mkdir -p $(@D)
	$(call say,-e 's|^Name: .*|&-inference|' -e '/^Libs.private/d' \
	    -e 's|-lconsistency$$|-lconsistency-inference $(filter-out -llapack,$(STATIC_LIBS)) -lm -pthread|') $< > $@
# The same with every symbol, for the unit tests.
$(INTERNAL): $(OBJECTS) $(WITH)
	@mkdir -p $(@D)
	rm -f $@
	$(AR) rcD $@ $(OBJECTS)
$(BUILD)/lib/consistency.pc: pkgconfig/consistency.pc.in Makefile include/consistency/base.h $(WITH)
	@mkdir -p $(@D)
	$(call say) $< > $@

# --- programs --------------------------------------------------------------------

# Where the programs look for the library before the loader's own folders; RPATH= is for packages.
RPATH ?= -Wl,-rpath,'$$ORIGIN/../lib'
JSON_LIBS := $(shell $(PKG_CONFIG) --libs jansson 2>/dev/null || echo -ljansson)
PROGRAM_FLAGS = -std=c11 $(WARN) $(FORTIFY) $(NO_FOLDER) -Iinclude -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE \
                $(shell $(PKG_CONFIG) --cflags jansson 2>/dev/null) $(CPPFLAGS) $(CFLAGS)
SHARED_O := $(patsubst %,$(BUILD)/obj/examples/%.o,cli cli_completion cli_values cli_progress cli_json cli_files listing output note sampling times given editing evaluating feature_files scoring ledger trials search_times search_curve plot pairs likelihood describing describing_json data_page ranks rounds)
PLAN_O := $(patsubst %,$(BUILD)/obj/examples/%.o,recipe plan auto auto_file auto_look auto_stage auto_average auto_watch auto_report doctor doctor_rules)
$(BUILD)/obj/examples/%.o: examples/%.c
	@mkdir -p $(@D)
	$(CC) $(PROGRAM_FLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/bin/cm-train: $(PLAN_O)
$(PROGRAMS:%=$(BUILD)/bin/%): $(BUILD)/bin/cm-%: $(BUILD)/obj/examples/%.o $(SHARED_O) $(SHARED) $(BUILD)/lib/libconsistency.so
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) -L$(BUILD)/lib -lconsistency $(JSON_LIBS) -lm $(RPATH)

# The completions come from the programs' own tables.  COMPLETIONS= leaves them out, where the programs cannot run.
COMPLETIONS ?= bash zsh fish
COMPLETION_FILES := $(foreach shell,$(COMPLETIONS),$(PROGRAMS:%=$(BUILD)/completions/$(shell)/%))
.PHONY: completions
completions: $(COMPLETION_FILES)
$(BUILD)/completions/bash/%: $(BUILD)/bin/%
	@mkdir -p $(@D)
	LD_LIBRARY_PATH=$(BUILD)/lib $< --completion bash > $@
$(BUILD)/completions/zsh/%: $(BUILD)/bin/%
	@mkdir -p $(@D)
	LD_LIBRARY_PATH=$(BUILD)/lib $< --completion zsh > $@
$(BUILD)/completions/fish/%: $(BUILD)/bin/%
	@mkdir -p $(@D)
	LD_LIBRARY_PATH=$(BUILD)/lib $< --completion fish > $@

# --- the plugin for MPI, where there is one --------------------------------------------

$(BUILD)/lib/libconsistency-mpi.so.$(VERSION): plugins/mpi.c plugins/consistency_mpi.h include/consistency/group.h include/consistency/base.h
	@mkdir -p $(@D)
	$(CC) -std=c11 $(WARN) $(FORTIFY) -fvisibility=hidden -fPIC -shared -Wl,-soname,$(PLUGIN_SONAME) $(NO_FOLDER) \
	    -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE -Iinclude \
	    $(patsubst -I%,-isystem %,$(shell $(PKG_CONFIG) --cflags $(MPI_PC))) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< \
	    $(shell $(PKG_CONFIG) --libs $(MPI_PC)) -pthread
	ln -sf $(@F) $(@D)/$(PLUGIN_SONAME)
	ln -sf $(@F) $(@D)/libconsistency-mpi.so

-include $(OBJECTS:.o=.d) $(wildcard $(BUILD)/obj/examples/*.d) $(BUILD)/obj/inference/choices.d $(wildcard $(BUILD)/tests/*.d $(BUILD)/tests/*/*.d)

include tests/tests.mk

# --- the rest ----------------------------------------------------------------------

DEMO := $(BUILD)/demo
demo: all
	@mkdir -p $(DEMO)
	$(BUILD)/bin/cm-sample models/emoji.safetensors --labels people,smileys -n 40 --columns 10 --seed 4 --method multistep \
	    --sigmas 80,1.5,0.4 --enlarge 2 --force \
	    -o $(DEMO)/emoji.png
	$(BUILD)/bin/cm-sample models/digits.safetensors -n 100 --labels rows --columns 10 --force \
	    -o $(DEMO)/digits-onestep.png
	$(BUILD)/bin/cm-sample models/digits.safetensors -n 100 --labels rows --columns 10 --force \
	    --method multistep -o $(DEMO)/digits-twostep.png
	$(BUILD)/bin/cm-sample models/digits_teacher.safetensors -n 100 --labels rows --columns 10 --force \
	    --method heun --steps 18 -o $(DEMO)/digits-teacher-heun18.png
	@echo "The pages are $(DEMO)/emoji.png, digits-onestep.png, digits-twostep.png and digits-teacher-heun18.png"

# Paths may have blanks: each stands in quotation marks.  What is written here has the mode of what is copied, whatever the umask.
PLACE := install -m 644
install: all
	install -d "$(DESTDIR)$(INCLUDEDIR)/consistency" "$(DESTDIR)$(LIBDIR)/pkgconfig" "$(DESTDIR)$(BINDIR)" "$(DESTDIR)$(CMAKEDIR)" \
	    "$(DESTDIR)$(DATADIR)/features" "$(DESTDIR)$(MANDIR)/man1" "$(DESTDIR)$(MANDIR)/man3" "$(DESTDIR)$(MANDIR)/man5"
	$(PLACE) include/consistency.h "$(DESTDIR)$(INCLUDEDIR)/"
	$(PLACE) $(HEADERS:%=include/consistency/%.h) "$(DESTDIR)$(INCLUDEDIR)/consistency/"
	install -m 755 $(SHARED) "$(DESTDIR)$(LIBDIR)/"
	ln -sf libconsistency.so.$(VERSION) "$(DESTDIR)$(LIBDIR)/$(SONAME)"
	ln -sf libconsistency.so.$(VERSION) "$(DESTDIR)$(LIBDIR)/libconsistency.so"
	$(PLACE) $(STATIC) "$(DESTDIR)$(LIBDIR)/"
	$(call say) pkgconfig/consistency.pc.in | $(PLACE) /dev/stdin "$(DESTDIR)$(LIBDIR)/pkgconfig/consistency.pc"
	$(if $(PLUGIN),install -m 755 $(PLUGIN) "$(DESTDIR)$(LIBDIR)/" && $(PLACE) plugins/consistency_mpi.h "$(DESTDIR)$(INCLUDEDIR)/")
	$(if $(PLUGIN),ln -sf $(notdir $(PLUGIN)) "$(DESTDIR)$(LIBDIR)/$(PLUGIN_SONAME)")
	$(if $(PLUGIN),ln -sf $(notdir $(PLUGIN)) "$(DESTDIR)$(LIBDIR)/libconsistency-mpi.so")
	$(if $(PLUGIN),$(call say) pkgconfig/consistency-mpi.pc.in | $(PLACE) /dev/stdin "$(DESTDIR)$(LIBDIR)/pkgconfig/consistency-mpi.pc")
	$(PLACE) $(wildcard models/features/*) "$(DESTDIR)$(DATADIR)/features/"
	install -m 755 $(PROGRAMS:%=$(BUILD)/bin/%) "$(DESTDIR)$(BINDIR)/"
	$(PLACE) $(PROGRAMS:%=man/%.1) "$(DESTDIR)$(MANDIR)/man1/"
	$(PLACE) man/libconsistency.3 "$(DESTDIR)$(MANDIR)/man3/"
	$(PLACE) man/consistency-checkpoint.5 "$(DESTDIR)$(MANDIR)/man5/"
	set -e; for p in $(PROGRAMS); do for s in $(COMPLETIONS); do \
	    case $$s in bash) to="$(BASHDIR)/$$p" ;; zsh) to="$(ZSHDIR)/_$$p" ;; fish) to="$(FISHDIR)/$$p.fish" ;; esac; \
	    $(PLACE) -D $(BUILD)/completions/$$s/$$p "$(DESTDIR)$$to"; done; done
	sed -e 's|@DNNL@|$(if $(DNNL),,dnnl)|' -e 's|@CXX@|$(if $(DNNL),,stdc++;gomp;)|' -e 's|@SONAME@|$(SONAME)|' \
	    -e 's|@INCLUDEDIR@|$(if $(call elsewhere,$(INCLUDEDIR),$(PREFIX)/include),$(subst &,\&,$(INCLUDEDIR)))|' cmake/consistency-config.cmake.in | \
	    $(PLACE) /dev/stdin "$(DESTDIR)$(CMAKEDIR)/consistency-config.cmake"
	sed -e 's|@VERSION@|$(VERSION)|' -e 's|@MAJOR@|$(MAJOR)|' -e 's|@MINOR@|$(MINOR)|' cmake/consistency-config-version.cmake.in | \
	    $(PLACE) /dev/stdin "$(DESTDIR)$(CMAKEDIR)/consistency-config-version.cmake"

# $(call remove,FOLDER,NAMES)
remove = @for name in $(2); do rm -f "$(DESTDIR)$(1)/$$name"; done
uninstall:
	$(call remove,$(DATADIR),$(patsubst models/%,%,$(wildcard models/features/*)))
	$(call remove,$(INCLUDEDIR),consistency.h consistency_mpi.h $(HEADERS:%=consistency/%.h))
	$(call remove,$(LIBDIR),libconsistency.so.$(VERSION) $(SONAME) libconsistency.so libconsistency.a pkgconfig/consistency.pc)
	$(call remove,$(LIBDIR),libconsistency-mpi.so.$(VERSION) $(PLUGIN_SONAME) libconsistency-mpi.so pkgconfig/consistency-mpi.pc)
	$(call remove,$(BINDIR),$(PROGRAMS))
	$(call remove,$(MANDIR),$(PROGRAMS:%=man1/%.1) man3/libconsistency.3 man5/consistency-checkpoint.5)
	$(call remove,$(BASHDIR),$(PROGRAMS))
	$(call remove,$(ZSHDIR),$(PROGRAMS:%=_%))
	$(call remove,$(FISHDIR),$(PROGRAMS:%=%.fish))
	$(call remove,$(CMAKEDIR),consistency-config.cmake consistency-config-version.cmake)
	@for folder in "$(DATADIR)/features" "$(DATADIR)" "$(INCLUDEDIR)/consistency" "$(CMAKEDIR)"; do \
	    [ ! -d "$(DESTDIR)$$folder" ] || rmdir "$(DESTDIR)$$folder" || :; done

# What is released: the source as it is committed, the same bytes wherever it is made.
DIST ?= dist
BUNDLE ?= all
.PHONY: wheel
dist:
	@$(PYTHON) bindings/python/consistency_build.py sdist --dist "$(DIST)"
	@$(PYTHON) packaging/sbom.py "$(DIST)/libconsistency-$(VERSION).tar.gz"
	@cd "$(DIST)" && sha256sum $$(ls | grep '^libconsistency-$(VERSION)[-.]') > SHA256SUMS && cat SHA256SUMS
WHEEL_LIBRARY := $(if $(filter all,$(BUNDLE)),$(BUILD)/wheel/$(SONAME),$(SHARED))
wheel: $(WHEEL_LIBRARY)
	@$(PYTHON) bindings/python/consistency_build.py wheel --bundle $(BUNDLE) --library $(WHEEL_LIBRARY) --dist "$(DIST)"

# The reference of the C interface, by doxygen, from the headers.
.PHONY: reference
reference:
	@mkdir -p $(BUILD)/reference
	CM_VERSION=$(VERSION) CM_OUTPUT=$(BUILD)/reference doxygen docs/doxygen/Doxyfile

# Debian packages of what is committed, under build/deb; DEB_BUILD_OPTIONS as Debian has them.
.PHONY: deb
DEB := $(BUILD)/deb
deb:
	@[ "$$(sed -n '1s/.*(\(.*\)-.*/\1/p' debian/changelog)" = $(VERSION) ] || { echo "deb: debian/changelog is not of $(VERSION)"; exit 1; }
	@case "$(abspath $(DEB))" in *' '*) echo "deb: Debian's build flags take no path with blanks, as '$(abspath $(DEB))'; DEB=FOLDER names another"; exit 1 ;; esac
	rm -rf $(DEB) && mkdir -p $(DEB)
	git archive --prefix=libconsistency-$(VERSION)/ HEAD ':(exclude)debian' | gzip -9n > $(DEB)/libconsistency_$(VERSION).orig.tar.gz
	git archive --prefix=libconsistency-$(VERSION)/ HEAD | tar -x -C $(DEB)
	cd $(DEB)/libconsistency-$(VERSION) && DEB_BUILD_OPTIONS="$${DEB_BUILD_OPTIONS-parallel=$$(nproc)}" \
	    env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS dpkg-buildpackage -us -uc
	@ls $(DEB)/*.deb

# Only additions within one SONAME; what stands behind opaque handles may
# change (lib/abi.suppr).  The baseline is made by `make abi-baseline`, at a
# release.
abi-check: $(SHARED)
	abidiff --suppressions lib/abi.suppr --no-added-syms lib/libconsistency.abi $(SHARED)
abi-baseline: $(SHARED)
	abidw --suppressions lib/abi.suppr --no-corpus-path --no-comp-dir-path $(SHARED) > lib/libconsistency.abi

format:
	clang-format -i --style=file $$(git ls-files '*.c' '*.h' '*.cc')

clean:
	rm -rf $(BUILD)
