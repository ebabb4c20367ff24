# matrix.mk - the library by other compilations and under analysers: minutes of a processor for each, and no part of
# `make check`.
#
#   make check-matrix                    all of tests/trust/matrix.sh
#   make check-matrix MATRIX="O0 msan"   some
#   make check-matrix MATRIX_UNITS=all   every unit program in the builds, in place of a handful
#
# A build stands in BUILD/matrix-NAME.

MATRIX ?= O0 lto fortify pattern msan cppcheck tidy analyzer
MATRIX_UNITS ?= check_base check_io check_json check_tensors check_pickle check_zip_directory check_torch_files check_msgpack \
                check_npy check_packed check_tar check_pictures check_schedules check_state_files check_kernels check_ops check_graph
.PHONY: check-matrix
check-matrix:
	@MAKE="$(MAKE)" bash tests/trust/matrix.sh $(BUILD) "$(if $(filter all,$(MATRIX_UNITS)),$(UNITS),$(MATRIX_UNITS))" $(MATRIX)

# What MemorySanitizer is told of libraries that are compiled without it: tests/trust/msan.c.
ifdef MATRIX_MSAN
$(addprefix $(BUILD)/obj/io/,png.o jpeg.o zip.o gunzip.o): EXTRA += -Dcmi_malloc=matrix_malloc
$(BUILD)/obj/io/png.o: EXTRA += -include string.h -Dstrlen=matrix_strlen
endif
