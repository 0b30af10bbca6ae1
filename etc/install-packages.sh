# SPDX-License-Identifier: ISC
# Sourced with section names: installs what etc/packages.txt lists for them and is missing.
install_packages() {
	local dir missing=() section name
	dir=$(dirname "${BASH_SOURCE[0]}")
	while read -r section name; do
		[[ " $* " == *" $section "* ]] || continue
		dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null | grep -q '^installed$' ||
			missing+=("$name")
	done < <(sed '/^#/d; /^$/d' "$dir/packages.txt")
	[ ${#missing[@]} -eq 0 ] && return 0
	if [ "$(id -u)" != 0 ]; then
		echo "missing packages, install them as root: ${missing[*]}" >&2
		return 1
	fi
	echo "installing: ${missing[*]}"
	# Services that the packages bring are for the tests to start, not for the system.
	local policy=/usr/sbin/policy-rc.d made=
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod +x $policy
		made=1
	fi
	export DEBIAN_FRONTEND=noninteractive
	local rc=0
	apt-get -q install -y --no-install-recommends "${missing[@]}" >/dev/null 2>&1 ||
		{ apt-get -q update >/dev/null && apt-get -q install -y --no-install-recommends "${missing[@]}"; } ||
		rc=$?
	[ -z "$made" ] || rm -f $policy
	return $rc
}
install_packages "$@"
