# trust.mk - the promises of docs/reliability.md, each shown by one command.
#
#   make trust          all of them, as far as they go: a line for each, kept or not, with the figures (hours)
#   make trust-r7       one
#   make trust-sample   a sample of each, in minutes: part of make check
#   make trust-estimate how long the long form of each takes, and what of it was shown on these sources already
#
# A promise is a script, tests/trust/rN.sh BUILD EFFORT (tests/trust/lib.sh says how one is written); what it needs
# built stands in needs_rN.

PROMISES := r1 r2 r3 r4 r5 r6 r7 r8 r9 r10 r11 r12 r13 r14
needs_r1 = $(BUILD)/tests/check_operations $(BUILD)/tests/process_memory $(BUILD)/tests/malloc_shim.so $(BUILD)/tests/train_program \
           $(BUILD)/tests/check_guest $(BUILD)/tests/check_train_memory
needs_r2 = $(BUILD)/tests/operation_program $(BUILD)/tests/shim.so $(BUILD)/tests/fault_program $(BUILD)/tests/make_model
needs_r3 = $(BUILD)/tests/train_program $(BUILD)/tests/record_shim.so $(BUILD)/tests/shim.so $(BUILD)/tests/rot_program
needs_r6 = $(UNIT_PROGRAMS)
needs_r8 = $(BUILD)/tests/catalogue_program
needs_r10 = $(BUILD)/tests/handles_program $(BUILD)/tests/check_guest $(BUILD)/tests/threads_program
needs_r12 = $(UNIT_PROGRAMS) $(BUILD)/tests/golden/golden
needs_r13 = $(if $(PLUGIN),$(BUILD)/tests/mpi_steps)
needs_r14 = $(BUILD)/tests/make_weights $(BUILD)/tests/make_model

.PHONY: trust trust-sample trust-estimate $(PROMISES:%=trust-%) $(PROMISES:%=needs-%)
define PROMISE
needs-$(1): all $$(needs_$(1))
trust-$(1): needs-$(1)
	@MAKE="$$(MAKE)" PYTHON="$$(PYTHON)" GOLDEN="$$(GOLDEN)" bash tests/trust/run.sh $$(BUILD) long $(1)
endef
$(foreach p,$(PROMISES),$(eval $(call PROMISE,$(p))))
trust: $(PROMISES:%=needs-%)
	@MAKE="$(MAKE)" PYTHON="$(PYTHON)" GOLDEN="$(GOLDEN)" bash tests/trust/run.sh $(BUILD) long $(PROMISES)
trust-sample: $(PROMISES:%=needs-%) | forget-skips
	@MAKE="$(MAKE)" PYTHON="$(PYTHON)" GOLDEN="$(GOLDEN)" bash tests/trust/run.sh $(BUILD) sample $(PROMISES)

trust-estimate:
	@bash tests/trust/run.sh $(BUILD) estimate $(PROMISES)

# How well the tests see: one of a hundred small faults at a time, and how much of the tree they run.
.PHONY: trust-faults
trust-faults: needs-r8
	@MAKE="$(MAKE)" PYTHON="$(PYTHON)" bash tests/trust/faults.sh $(BUILD)
