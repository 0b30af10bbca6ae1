# SPDX-License-Identifier: ISC
"""Parts of ekbench: host (what the machine tells), mta (the suites), tools (source, sink), rows."""
