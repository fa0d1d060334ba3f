#!/bin/sh
# robo-agent-install: makes this machine a device of one manager, or brings its agent up to date.
#
# The manager fills in the four lines below. Whoever runs this has compared its SHA-256 with the one that `robo device
# enroll` printed; so what stands here can be trusted, and whatever else is fetched is compared with it.
#
# For any POSIX shell: dash, bash, busybox.
set -eu

MANAGER='@MANAGER@'
CA='@CA@'
VERSION='@VERSION@'
# One line for each architecture, as `uname -m` calls it: its name, and the SHA-256 of its program.
AGENTS='@AGENTS@'

# How often a download that broke off is begun anew, and the seconds between: a minute of a bad network is bridged.
ATTEMPTS=8
PAUSE=2
# Seconds until the device should be there; a machine that boots on a slow network needs some.
PATIENCE=60
# Starts after which an agent that ends each time is not waited for any longer.
STARTS=3

SERVICE=robo-agent.service

usage() {
    cat <<END
Installs robo-agent $VERSION, and makes this machine a device of the manager at $MANAGER.
Again, it brings the agent up to date; what the agent looks after goes on running.

  sh install.sh [--user] [--token-file FILE] [--name NAME] [--root DIR]
  sh install.sh --uninstall [--purge] [--user] [--root DIR]

  --token-file FILE   reads the enrolment token there, - for standard input; else it is asked for, unseen
  --name NAME         proposes this name, where the token gives none
  --user              for this user alone, without root
  --root DIR          installs into the image in DIR, and starts nothing
  --uninstall         removes the agent; asks about its folder with the device's key
  --purge             removes that folder, too, and the settings, and does not ask
END
}

say() { printf '%s\n' "$1"; }

# fail WHAT [WHAT-TO-DO]
fail() {
    printf 'error: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf '  help: %s\n' "$2" >&2
    exit 1
}

main() {
    read_options "$@"
    choose_places
    if [ "$uninstall" = yes ]; then
        uninstall
        return
    fi
    check_machine
    get_token
    install_program
    install_settings
    install_unit
    keep_token
    keep_script
    begin
}

read_options() {
    uninstall=no purge=no user=no token_file='' name='' root=''
    while [ $# -gt 0 ]; do
        case $1 in
            --uninstall) uninstall=yes ;;
            --purge) purge=yes ;;
            --user) user=yes ;;
            --token-file | --name | --root)
                if [ $# -lt 2 ] || [ -z "$2" ]; then fail "$1 needs a value"; fi
                case $1 in
                    --token-file) token_file=$2 ;;
                    --name) name=$2 ;;
                    *) root=${2%/} ;;
                esac
                shift
                ;;
            -h | --help)
                usage
                exit 0
                ;;
            rbe1.*) fail "a token is no argument: every user of this machine sees those" "leave it out and be asked, or --token-file FILE" ;;
            *) fail "\`$1\` is no option of this script" "--help lists all" ;;
        esac
        shift
    done
    case $name in *[!A-Za-z0-9._-]*) fail "\`$name\` is no name of a device" "letters, digits, - and _" ;; esac
    [ "$purge" = no ] || [ "$uninstall" = yes ] || fail "--purge goes with --uninstall"
    [ "$user" = no ] || [ -z "$root" ] || fail "an image has no user: --user and --root do not go together"
}

choose_places() {
    if [ "$user" = yes ]; then
        home=${HOME:?}
        config=${XDG_CONFIG_HOME:-$home/.config}
        bin=$home/.local/bin
        unit=$config/systemd/user/$SERVICE
        settings=$config/robo-agent/environment
        state=${XDG_STATE_HOME:-$home/.local/state}/robo-agent
        scope=--user
    else
        bin=/usr/local/bin
        unit=/etc/systemd/system/$SERVICE
        settings=/etc/robo-agent/environment
        state=/var/lib/robo-agent
        scope=--system
    fi
    # They stand in the unit, where spaces, quotes and percent signs mean something.
    case $bin$unit$state in *[!A-Za-z0-9/._-]*) fail "the folder $state, or one beside it, has a character in its name that systemd reads in its own way" "set HOME, XDG_CONFIG_HOME and XDG_STATE_HOME to plain names" ;; esac
    if [ -n "$root" ]; then
        case $root in /*) ;; *) fail "--root $root: write the whole path, from / on" ;; esac
        [ -d "$root" ] || fail "--root $root: there is no such folder"
    elif [ "$user" = no ] && [ "$(id -u)" -ne 0 ]; then
        fail "this needs root" "run it with sudo, or with --user for this user alone"
    fi
}

check_machine() {
    [ "$(uname -s)" = Linux ] || fail "this is $(uname -s); robo-agent runs on Linux"
    architecture=$(uname -m)
    wanted=$(printf '%s\n' "$AGENTS" | sed -n "s/^$architecture //p")
    [ -n "$wanted" ] || fail "the manager has no agent for $architecture" "put it as robo-agent-$architecture into the folder that \`robo manager --agent-binaries DIR\` names, and make a new line with \`robo device enroll\`"
    command -v sha256sum >/dev/null || fail "there is no sha256sum here" "install coreutils"
    if command -v curl >/dev/null; then
        fetcher=curl
    elif command -v wget >/dev/null; then
        fetcher=wget
    else
        fail "there is neither curl nor wget here" "install one of them"
    fi
}

# The token is in a variable of this shell and then in a file for the agent's user alone: never an argument, never in an
# environment.
get_token() {
    token=''
    if [ "$token_file" = - ]; then
        read -r token || [ -n "$token" ] || fail "there is no token on standard input"
    elif [ -n "$token_file" ]; then
        [ -r "$token_file" ] || fail "the token cannot be read from $token_file"
        read -r token <"$token_file" || [ -n "$token" ] || fail "there is no token in $token_file"
    elif [ -f "$root$state/identity/identity.json" ] || [ -f "$root$state/token" ]; then
        return
    elif (: </dev/tty) 2>/dev/null; then
        ask_token
    else
        fail "there is no token, and nobody to ask for one" "--token-file FILE, with what \`robo device enroll\` printed"
    fi
    # A file that came by way of Windows.
    token=${token%"$(printf '\r')"}
    case $token in
        *[!A-Za-z0-9.]*) fail "this is not an enrolment token" "make one with \`robo device enroll\`" ;;
        "rbe1.$CA".?*) ;;
        rbe1.*) fail "this token is another manager's, not one of $MANAGER" "make one there, or take the line that was printed with this token" ;;
        *) fail "this is not an enrolment token" "make one with \`robo device enroll\`" ;;
    esac
}

ask_token() {
    printf 'The enrolment token (it is not shown): ' >/dev/tty
    echo_off=yes
    stty -echo </dev/tty
    read -r token </dev/tty || true
    stty echo </dev/tty
    echo_off=no
    printf '\n' >/dev/tty
}

# Puts back what must not stay as it is, however this ends.
echo_off=no
new=''
tidy() {
    [ "$echo_off" = no ] || stty echo </dev/tty
    [ -z "$new" ] || rm -f "$new"
}
trap tidy EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

hash_of() {
    sum=$(sha256sum "$1")
    printf '%s' "${sum%% *}"
}

# The certificate is not looked at: the manager's CA is no machine's, and the SHA-256 says more.
download() {
    case $fetcher in
        curl) curl --fail --silent --show-error --insecure --connect-timeout 15 --speed-limit 1 --speed-time 30 --output "$2" "$1" ;;
        *) wget -q -T 30 --no-check-certificate -O "$2" "$1" ;;
    esac
}

fetch() {
    attempt=1
    while :; do
        status=0
        download "$1" "$2" || status=$?
        [ "$status" -ne 0 ] || return 0
        # What curl and wget end with when a file cannot be written: no other attempt makes room.
        case $fetcher$status in curl23 | wget3) fail "${2%/*} takes no file of that size" "make room there: \`df ${2%/*}\` says how much is left" ;; esac
        [ "$attempt" -lt "$ATTEMPTS" ] || fail "$1 cannot be downloaded" "look at the network and at the proxy (HTTPS_PROXY), and run this again"
        attempt=$((attempt + 1))
        say "  the download broke off; attempt $attempt of $ATTEMPTS"
        sleep "$PAUSE"
    done
}

install_program() {
    program=$root$bin/robo-agent
    if [ -f "$program" ] && [ "$(hash_of "$program")" = "$wanted" ]; then
        say "robo-agent $VERSION is there already: $program"
        return
    fi
    mkdir -p "$root$bin" || fail "$root$bin cannot be made"
    # In the same folder, so that it takes its place at once or not at all.
    new=$root$bin/.robo-agent.$$
    say "robo-agent $VERSION for $architecture, from $MANAGER"
    fetch "https://$MANAGER/v1/install/agent/$architecture" "$new"
    [ "$(hash_of "$new")" = "$wanted" ] || fail "what came is not the program that was announced; nothing was installed" "the manager's was replaced meanwhile, or somebody in the network is at work: make a new line with \`robo device enroll\`"
    chmod 755 "$new"
    "$new" --version >/dev/null || fail "the program does not run on this machine; nothing was installed"
    mv -f "$new" "$program"
    new=''
    say "  is in $program"
}

# Written once; what somebody changed there stays.
install_settings() {
    [ ! -e "$root$settings" ] || return 0
    mkdir -p "$root${settings%/*}"
    (
        # A proxy's password may stand there.
        umask 077
        {
            say "# The environment of robo-agent; after a change: systemctl $scope restart $SERVICE"
            setting HTTPS_PROXY "${HTTPS_PROXY:-${https_proxy:-${ALL_PROXY:-${all_proxy:-}}}}"
            setting NO_PROXY "${NO_PROXY:-${no_proxy:-}}"
        } >"$root$settings"
    )
}

setting() {
    case $2 in
        '') say "# $1=" ;;
        *[!]A-Za-z0-9:/@%._~,*+=[-]*)
            say "# $1="
            printf 'warning: %s has characters that are not copied; write it into %s\n' "$1" "$root$settings" >&2
            ;;
        *) say "$1=$2" ;;
    esac
}

install_unit() {
    mkdir -p "$root${unit%/*}"
    # A user's services cannot wait for the network, only for one another.
    network='
Wants=network-online.target
After=network-online.target'
    wanted_by=multi-user.target
    if [ "$user" = yes ]; then network='' wanted_by=default.target; fi
    cat >"$root$unit.new" <<END
# Written by robo-agent-install; changes belong into \`systemctl $scope edit $SERVICE\`.
[Unit]
Description=robo agent, a device of $MANAGER$network
StartLimitIntervalSec=0

[Service]
ExecStart=$bin/robo-agent --manager $MANAGER --state $state${name:+ --name $name}
EnvironmentFile=-$settings
Restart=always
RestartSec=5
# What the agent looks after goes on while it is restarted or upgraded, and a program that takes too much memory takes
# neither the agent nor the others with it.
KillMode=process
OOMPolicy=continue
TasksMax=infinity
# No sandbox here: recipes would inherit it, and they install packages, open devices and change users. Each runs as the
# user that its component names.

[Install]
WantedBy=$wanted_by
END
    mv -f "$root$unit.new" "$root$unit"
}

# The agent takes a token that it finds in its folder, and removes it once it is enrolled.
keep_token() {
    if [ ! -d "$root$state" ]; then
        mkdir -p "$root${state%/*}"
        mkdir -m 700 "$root$state"
    fi
    [ -n "$token" ] || return 0
    rm -f "$root$state/token.new"
    # printf is the shell's own: no process has the token among its arguments.
    (umask 077 && printf '%s\n' "$token" >"$root$state/token.new")
    mv -f "$root$state/token.new" "$root$state/token"
    token=''
}

# For --uninstall, when the manager is long gone.
keep_script() {
    copy=$root$bin/robo-agent-install
    if [ ! -f "$0" ] || ! grep -q '^# robo-agent-install: ' "$0"; then return 0; fi
    cat "$0" >"$copy.new"
    chmod 755 "$copy.new"
    mv -f "$copy.new" "$copy"
}

has_systemd() {
    [ -z "$root" ] && command -v systemctl >/dev/null || return 1
    if [ "$user" = yes ]; then systemctl --user show-environment >/dev/null 2>&1; else [ -d /run/systemd/system ]; fi
}

begin() {
    if [ -n "$root" ]; then
        enable_in_image
        say "The image in $root has the agent; the device enrols when it boots."
        return
    fi
    if ! has_systemd; then
        say "There is no systemd here that could start the agent. Have it run by what starts services here:"
        say "  $bin/robo-agent --manager $MANAGER --state $state${name:+ --name $name}"
        return
    fi
    systemctl "$scope" daemon-reload
    systemctl "$scope" enable "$SERVICE"
    systemctl "$scope" restart "$SERVICE"
    wait_for_device
    if [ "$user" = yes ]; then
        say "So that it runs while you are not logged in: sudo loginctl enable-linger $(id -un)"
    fi
}

enable_in_image() {
    wants=$root${unit%/*}/multi-user.target.wants
    mkdir -p "$wants"
    ln -sf "$unit" "$wants/$SERVICE"
}

# The doctor asks what the agent asks, the same way; it prints no secret.
doctor() {
    HTTPS_PROXY=$(sed -n 's/^HTTPS_PROXY=//p' "$settings") NO_PROXY=$(sed -n 's/^NO_PROXY=//p' "$settings") \
        "$bin/robo-agent" doctor --manager "$MANAGER" --state "$state"
}

wait_for_device() {
    say "  started; waiting until $MANAGER knows this device"
    waited=0
    until [ ! -e "$state/token" ] && doctor >/dev/null 2>&1; do
        restarts=$(systemctl "$scope" show -p NRestarts "$SERVICE" 2>/dev/null || true)
        restarts=${restarts#NRestarts=}
        case $restarts in '' | *[!0-9]*) restarts=0 ;; esac
        if [ "$waited" -ge "$PATIENCE" ] || [ "$restarts" -ge "$STARTS" ]; then
            explain
        fi
        waited=$((waited + 1))
        sleep 1
    done
    say "This machine is a device of $MANAGER now. Look at it with: robo-agent doctor"
}

explain() {
    doctor >&2 || true
    if command -v journalctl >/dev/null; then
        journalctl "$scope" --unit "$SERVICE" --lines 5 --no-pager --output cat >&2 2>/dev/null || true
    fi
    fail "the agent is installed, but it is not a device yet; it goes on trying" "with a new token run this again; \`robo-agent doctor\` says how it is"
}

uninstall() {
    found=no
    if [ -e "$root$unit" ]; then
        found=yes
        if has_systemd; then systemctl "$scope" disable --now "$SERVICE" || true; fi
        rm -f "$root$unit" "$root${unit%/*}/multi-user.target.wants/$SERVICE"
        if has_systemd; then systemctl "$scope" daemon-reload || true; fi
    fi
    for file in "$root$bin/robo-agent" "$root$bin/robo-agent-install"; do
        if [ -e "$file" ]; then
            found=yes
            rm -f "$file"
        fi
    done
    if [ -d "$root$state" ] || [ -e "$root$settings" ]; then
        if wants_purge; then
            found=yes
            rm -rf "$root$state" "$root${settings%/*}"
            say "The device's key, its folder $root$state and its settings are removed."
        else
            say "The device's key and what its applications keep are left in $root$state; --uninstall --purge removes them."
        fi
    fi
    if [ "$found" = yes ]; then
        say "robo-agent is removed. What it had started goes on until this machine is restarted."
    else
        say "robo-agent is not installed here."
    fi
}

wants_purge() {
    [ "$purge" = no ] || return 0
    # An uninstalled agent's folder is asked about once, not again and again.
    [ "$found" = yes ] && (: </dev/tty) 2>/dev/null || return 1
    printf 'Remove %s, too, with the device'"'"'s key and what its applications keep? [y/N] ' "$root$state" >/dev/tty
    read -r answer </dev/tty || return 1
    case $answer in y | Y | yes) return 0 ;; *) return 1 ;; esac
}

# At the end, so that nothing is run of a script of which the end is lacking.
main "$@"
