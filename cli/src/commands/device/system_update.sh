# Brings this machine's packages up to date, in stages, and reboots it where that is wished.
#
#   sh -c THIS robo-system-update DRY REBOOT WINDOW
#
# DRY is yes or no; REBOOT is never, if-needed or always; WINDOW is HH:MM-HH:MM by this machine's clock, or nothing.
# For any POSIX shell: dash, bash, busybox.
set -eu

dry=$1 reboot=$2 window=$3

# Seconds that a package manager waits for another one that works.
PATIENCE=600
# Minutes until a reboot: the verdict is on its way before it.
SOON=1

fail() {
    echo "error: $1" >&2
    exit 1
}

# stage NAME COMMAND…: one step, with its name before its output. No output is kept from whoever reads the log.
stage() {
    name=$1
    shift
    echo "stage: $name"
    "$@" || { status=$?; fail "stage $name failed: \`$*\` ended with $status"; }
}

is_there() { command -v "$1" >/dev/null 2>&1; }

apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -q -y -o "DPkg::Lock::Timeout=$PATIENCE" \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}

with_apt() {
    stage refresh apt update
    [ "$dry" = no ] || { stage list apt --simulate upgrade --with-new-pkgs; return; }
    stage download apt --download-only upgrade --with-new-pkgs
    stage install apt upgrade --with-new-pkgs
    stage clean apt clean
}

# 100 says that there is something.
dnf_list() { dnf -q check-update || [ $? -eq 100 ]; }

with_dnf() {
    stage refresh dnf -q makecache
    [ "$dry" = no ] || { stage list dnf_list; return; }
    stage download dnf -y upgrade --downloadonly
    stage install dnf -y upgrade
    stage clean dnf -q clean packages
}

with_zypper() {
    stage refresh zypper -n refresh
    [ "$dry" = no ] || { stage list zypper -n list-updates; return; }
    stage download zypper -n update --download-only
    stage install zypper -n update
    stage clean zypper -n clean
}

# 1 says that there is nothing.
pacman_list() { pacman -Qu || [ $? -eq 1 ]; }

with_pacman() {
    # Refreshed lists without an upgrade are what breaks such a system: only in one go, or not at all.
    [ "$dry" = no ] || { stage list pacman_list; return; }
    stage download pacman -Syuw --noconfirm
    stage install pacman -Syu --noconfirm
    stage clean pacman -Sc --noconfirm
}

with_apk() {
    stage refresh apk update
    [ "$dry" = no ] || { stage list apk upgrade --simulate; return; }
    stage install apk upgrade
}

# Whether what was installed counts only after a reboot. Where nobody says so, it does not.
needs_reboot() {
    [ -e "${ROBO_REBOOT_REQUIRED:-/var/run/reboot-required}" ] && return 0
    if is_there needs-restarting; then
        # 1 says yes.
        needs-restarting -r >/dev/null 2>&1 || return 0
    fi
    return 1
}

# minutes HH:MM: since midnight. The leading zero would make it octal.
minutes() {
    hours=${1%:*} rest=${1#*:}
    echo $((${hours#0} * 60 + ${rest#0}))
}

# Minutes from now until the window is open.
until_window() {
    now=$(minutes "$(date +%H:%M)") from=$(minutes "${window%-*}") to=$(minutes "${window#*-}")
    if [ "$from" -le "$to" ]; then
        if [ "$now" -ge "$from" ] && [ "$now" -lt "$to" ]; then echo "$SOON"; return; fi
    elif [ "$now" -ge "$from" ] || [ "$now" -lt "$to" ]; then
        echo "$SOON"
        return
    fi
    left=$(((from - now + 1440) % 1440))
    [ "$left" -ge "$SOON" ] || left=$SOON
    echo "$left"
}

reboots() {
    [ "$reboot" = always ] || needs_reboot || { echo "no reboot is needed"; return; }
    [ "$reboot" != never ] || { echo "a reboot is needed, and was not wished"; return; }
    left=$SOON
    [ -z "$window" ] || left=$(until_window)
    stage reboot shutdown -r "+$left"
    echo "it reboots in $left min"
}

[ "$(id -u)" -eq 0 ] || fail "packages are root's, and this runs as $(id -un); take \`--user root\`"
[ "$reboot" = never ] || [ "$dry" = yes ] || is_there shutdown ||
    fail "this machine has no \`shutdown\` that reboots it at a time; take \`--reboot never\`"
if is_there apt-get; then with_apt
elif is_there dnf; then with_dnf
elif is_there zypper; then with_zypper
elif is_there pacman; then with_pacman
elif is_there apk; then with_apk
else fail "none of apt-get, dnf, zypper, pacman and apk is here; take \`robo exec\` with what updates this machine"
fi
[ "$dry" = yes ] || reboots
