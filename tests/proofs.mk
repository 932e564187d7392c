# SPDX-License-Identifier: BSD-2-Clause
#
# What is proved and not only tried: tests/proofs/run, in well under a minute.

.PHONY: proofs
proofs: $(SETUP) ## the proofs of the reserved-bit rules, by Frama-C
	@tests/proofs/run
