# tests.mk - the test programs and their targets.

TEST_FLAGS = -std=c11 $(WARN) -Wframe-larger-than=262144 $(FORTIFY) -fopenmp -Iinclude -Isrc -Itests -MMD -MP -D_POSIX_C_SOURCE=200809L \
             -D_DEFAULT_SOURCE $(DEP_CFLAGS) $(CPPFLAGS) $(CFLAGS)
TEST_LINK  = $(STATIC) $(ALL_LIBS)

SUPPORT := $(BUILD)/tests/support/fill.o
GOLDEN_OBJECTS := $(patsubst %,$(BUILD)/tests/golden/%.o,main networks algorithms checkpoints)

$(BUILD)/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	$(CC) $(TEST_FLAGS) -c -o $@ $<

$(BUILD)/tests/golden/golden: $(GOLDEN_OBJECTS) $(SUPPORT) $(STATIC)
	$(CC) $(CFLAGS) $(LDFLAGS) -fopenmp -o $@ $(GOLDEN_OBJECTS) $(SUPPORT) $(TEST_LINK)

check-golden: $(BUILD)/tests/golden/golden
	@OMP_WAIT_POLICY=passive $(BUILD)/tests/golden/golden $(GOLDEN)
