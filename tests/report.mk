# SPDX-License-Identifier: BSD-2-Clause

.PHONY: report
report: ## build/report.html: what a run did, in charts (LOG=FILE, a console log; best with stats=on)
	@test -n "$(LOG)" || { echo 'report: wanted LOG=FILE, a console log (iso/run --log FILE)' >&2; false; }
	@tests/report/report "$(LOG)" -o $(B)/report.html
