# tests.mk - the test programs and their targets.

TEST_FLAGS = -std=c11 $(filter-out -Wframe-larger-than=%,$(WARN)) $(FORTIFY) -fopenmp -Iinclude -Isrc -Itests -MMD -MP \
             -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE $(DEP_CFLAGS) $(CPPFLAGS) $(CFLAGS)
TEST_LINK  = $(STATIC) $(ALL_LIBS)
CHECK_LIBS = $(shell $(PKG_CONFIG) --libs check 2>/dev/null || echo -lcheck)
# Spinning threads make tests crawl on a busy machine; oneDNN's chatter is the user's choice.
TEST_ENV   = OMP_WAIT_POLICY=passive

UNITS := check_base check_io check_ops check_graph check_sampler check_api
SUPPORT := $(BUILD)/tests/support/fill.o $(BUILD)/tests/support/memory.o
GOLDEN_OBJECTS := $(patsubst %,$(BUILD)/tests/golden/%.o,main networks algorithms checkpoints)
UNIT_PROGRAMS := $(UNITS:%=$(BUILD)/tests/%)

$(BUILD)/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	$(CC) $(TEST_FLAGS) -c -o $@ $<

$(BUILD)/tests/golden/golden: $(GOLDEN_OBJECTS) $(SUPPORT) $(STATIC)
	$(CC) $(CFLAGS) $(LDFLAGS) -fopenmp -o $@ $(GOLDEN_OBJECTS) $(SUPPORT) $(TEST_LINK)

$(UNIT_PROGRAMS): $(BUILD)/tests/%: $(BUILD)/tests/%.o $(BUILD)/tests/support/suite.o $(BUILD)/tests/ref/naive.o $(SUPPORT) $(STATIC)
	$(CC) $(CFLAGS) $(LDFLAGS) -fopenmp -o $@ $(filter %.o,$^) $(TEST_LINK) $(CHECK_LIBS)

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(SUPPORT) $(STATIC)
	$(CC) $(CFLAGS) $(LDFLAGS) -fopenmp -o $@ $< $(SUPPORT) $(TEST_LINK)

.PHONY: check-units check-data check-scripts
check-units: $(UNIT_PROGRAMS)
	@for t in $(UNIT_PROGRAMS); do $(TEST_ENV) $$t || exit 1; done

check-data: $(BUILD)/tests/golden/golden
	@$(TEST_ENV) $(BUILD)/tests/golden/golden tests/data/golden

check-golden: $(BUILD)/tests/golden/golden
	@$(TEST_ENV) $(BUILD)/tests/golden/golden $(GOLDEN)
