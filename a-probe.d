probe.o: /tmp/probe.c tests/support/files.h tests/support/suite.h \
 include/consistency.h include/consistency/base.h \
 include/consistency/model.h include/consistency/base.h \
 include/consistency/checkpoint.h include/consistency/model.h \
 include/consistency/sampler.h include/consistency/image.h \
 include/consistency/edit.h include/consistency/sampler.h \
 include/consistency/dataset.h include/consistency/group.h \
 include/consistency/trainer.h include/consistency/dataset.h \
 include/consistency/group.h include/consistency/run.h \
 include/consistency/trainer.h include/consistency/image.h \
 include/consistency/metrics.h include/consistency/image.h \
 tests/support/pictures.h include/consistency/dataset.h \
 tests/support/hearing.h tests/support/sets.h tests/support/scratch.h
tests/support/files.h:
tests/support/suite.h:
include/consistency.h:
include/consistency/base.h:
include/consistency/model.h:
include/consistency/base.h:
include/consistency/checkpoint.h:
include/consistency/model.h:
include/consistency/sampler.h:
include/consistency/image.h:
include/consistency/edit.h:
include/consistency/sampler.h:
include/consistency/dataset.h:
include/consistency/group.h:
include/consistency/trainer.h:
include/consistency/dataset.h:
include/consistency/group.h:
include/consistency/run.h:
include/consistency/trainer.h:
include/consistency/image.h:
include/consistency/metrics.h:
include/consistency/image.h:
tests/support/pictures.h:
include/consistency/dataset.h:
tests/support/hearing.h:
tests/support/sets.h:
tests/support/scratch.h:
