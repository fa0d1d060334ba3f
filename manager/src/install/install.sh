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

# How often a download that broke off goes on where it was, and the most seconds between: the pauses double up to that,
# so five minutes without a network are bridged.
ATTEMPTS=12
LONGEST_PAUSE=45
# Most seconds of one stage, unless --time-limit says others: a slow network fetches the program in that.
time_limit=1800
# Most seconds that a report of how far this is takes: nothing waits for it any longer.
REPORT_LIMIT=5
# Seconds until the device should be there; a machine that boots on a slow network needs some.
PATIENCE=60
# KiB with which settings and unit can be written.
ENOUGH=16
# Starts after which an agent that ends each time is not waited for any longer.
STARTS=3

SERVICE=robo-agent.service

usage() {
    cat <<END
Installs robo-agent $VERSION, and makes this machine a device of the manager at $MANAGER.
Again, it brings the agent up to date; what the agent looks after goes on running.

  sh install.sh [--user] [--token-file FILE] [--name NAME] [--exec-user USER] [--root DIR] [--time-limit SECONDS]
  sh install.sh --uninstall [--purge] [--user] [--root DIR]

  --token-file FILE   reads the enrolment token there, - for standard input; else it is asked for, unseen
  --name NAME         proposes this name, where the token gives none
  --exec-user USER    has people's commands and shells run as USER, unless they may be root; kept when run again
  --user              for this user alone, without root
  --root DIR          installs into the image in DIR, and starts nothing
  --time-limit SECS   longest time of one stage; half an hour where nothing is said
  --uninstall         removes the agent; asks about its folder with the device's key
  --purge             removes that folder, too, and the settings, and does not ask
END
}

say() { printf '%s\n' "$1"; }

# fail WHAT [WHAT-TO-DO]
fail() {
    told=yes
    printf 'error: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf '  help: %s\n' "$2" >&2
    exit 1
}

# fail_as CODE WHAT [WHAT-TO-DO]: the manager is told, too; docs/agent-codes.md has the codes.
fail_as() {
    told=yes code=$1
    shift
    report "$code" "$1"
    printf 'error: %s: %s\n' "$code" "$1" >&2
    [ $# -lt 2 ] || printf '  help: %s\n' "$2" >&2
    exit 1
}

# enter STAGE PERCENT [WHAT]: how far this is, for the manager.
enter() {
    stage=$1 percent=$2
    report '' "${3:-}"
}

# report CODE WHAT. The manager's certificate is not verified here, so it gets no secret: the SHA-256 of the token is good
# for reports and nothing else. Whatever comes of it, the installation goes on.
stage=check percent=0 proof='' fetcher=''
report() {
    [ -n "$proof" ] && [ -n "$fetcher" ] || return 0
    what=$(printf '%s' "$2" | LC_ALL=C tr '\n\t' '  ' | LC_ALL=C tr -cd '\040-\176' | tr '"\134' '  ' | cut -c 1-900)
    body='{"token_hash":"'$proof'","host":"'$(uname -n)'","stage":"'$stage'","percent":'$percent',"detail":"'$what'"'
    if [ -n "$1" ]; then body=$body',"code":"'$1'"'; fi
    body=$body'}'
    case $fetcher in
        curl) printf '%s' "$body" | curl --silent --insecure --max-time "$REPORT_LIMIT" --header 'Content-Type: application/json' --data-binary @- "https://$MANAGER/v1/install/report" ;;
        *) within "$REPORT_LIMIT" run wget -q -T "$REPORT_LIMIT" --no-check-certificate -O - --header 'Content-Type: application/json' --post-data "$body" "https://$MANAGER/v1/install/report" ;;
    esac >/dev/null 2>&1 || true
}

# within SECONDS FUNCTION ARGUMENT...: what the function ends with; 124 when it was ended because it took longer. The
# function ends in `exec`, so that what is ended is the program itself.
within() {
    limit=$1
    shift
    "$@" &
    child=$!
    (
        # Quietly: some shells tell of children that are killed.
        trap 'exit 0' TERM
        left=$limit
        while [ "$left" -gt 0 ]; do
            sleep 1
            # A signal that comes before the shell is ready for it is lost.
            kill -0 "$child" || exit 0
            left=$((left - 1))
        done
        kill -s KILL "$child"
    ) >/dev/null 2>&1 &
    watch=$!
    within_status=0
    { wait "$child" || within_status=$?; } 2>/dev/null
    child=''
    kill "$watch" 2>/dev/null || true
    # As shells tell SIGKILL.
    [ "$within_status" -ne 137 ] || return 124
    return "$within_status"
}

run() { exec "$@"; }

# too_slow: what is said of a stage that reached its limit.
too_slow() {
    fail_as AGT_TIME_LIMIT "the stage \`$stage\` took longer than $time_limit s" "look at what makes it slow, or give it longer with --time-limit SECONDS"
}

# unwritable PATH [CODE]: why nothing can be written there.
unwritable() {
    folder=$1
    until [ -d "$folder" ]; do folder=${folder%/*} folder=${folder:-/}; done
    room=$(df -Pk "$folder" 2>/dev/null | sed -n '2s/^[^ ]* *[0-9]* *[0-9]* *\([0-9]*\) .*/\1/p')
    if [ -n "$room" ] && [ "$room" -lt "$ENOUGH" ]; then
        fail_as AGT_DISK_FULL "$1 cannot be written: the disk is full, $room KiB are left" "make room there, and run this again"
    fi
    fail_as "${2:-AGT_INSTALL_FOLDER}" "$1 cannot be made or written: it is another user's, or its file system is read-only" "make it writable, or install with --user; where the system is read-only, build the image with --root"
}

main() {
    read_options "$@"
    choose_places
    if [ "$uninstall" = yes ]; then
        uninstall
        return
    fi
    find_tools
    get_token
    enter check 5
    check_machine
    install_program
    install_settings
    install_unit
    keep_token
    keep_script
    begin
}

read_options() {
    uninstall=no purge=no user=no token_file='' name='' exec_user='' root=''
    while [ $# -gt 0 ]; do
        case $1 in
            --uninstall) uninstall=yes ;;
            --purge) purge=yes ;;
            --user) user=yes ;;
            --token-file | --name | --exec-user | --root | --time-limit)
                if [ $# -lt 2 ] || [ -z "$2" ]; then fail "$1 needs a value"; fi
                case $1 in
                    --token-file) token_file=$2 ;;
                    --name) name=$2 ;;
                    --exec-user) exec_user=$2 ;;
                    --time-limit) time_limit=$2 ;;
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
    case $exec_user in -* | *[!A-Za-z0-9._-]*) fail "\`$exec_user\` is no name of a user" "write one of /etc/passwd" ;; esac
    case $time_limit in 0* | *[!0-9]* | ?????????*) fail "--time-limit $time_limit: write seconds, 1 or more" ;; esac
    [ "$purge" = no ] || [ "$uninstall" = yes ] || fail "--purge goes with --uninstall"
    [ "$user" = no ] || [ -z "$exec_user" ] || fail "an agent of one user runs everything as that user: --user and --exec-user do not go together" "leave one of them out"
    [ "$uninstall" = no ] || [ -z "$exec_user" ] || fail "--exec-user does not go with --uninstall"
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
    # The agent looks there, too: it would refuse every command.
    if [ -n "$exec_user" ] && ! cut -d : -f 1 "$root/etc/passwd" 2>/dev/null | grep -Fqx -e "$exec_user"; then
        fail "there is no user \`$exec_user\` in $root/etc/passwd; nothing was installed" "add it, or name another one"
    fi
}

find_tools() {
    command -v sha256sum >/dev/null || fail "AGT_SYSTEM: there is no sha256sum here" "install coreutils"
    if command -v curl >/dev/null; then
        fetcher=curl
    elif command -v wget >/dev/null; then
        fetcher=wget
    else
        fail "AGT_SYSTEM: there is neither curl nor wget here" "install one of them"
    fi
}

check_machine() {
    [ "$(uname -s)" = Linux ] || fail_as AGT_SYSTEM "this is $(uname -s); robo-agent runs on Linux"
    architecture=$(uname -m)
    wanted=$(printf '%s\n' "$AGENTS" | sed -n "s/^$architecture //p")
    [ -n "$wanted" ] || fail_as AGT_NO_PROGRAM "the manager has no agent for $architecture" "put it as robo-agent-$architecture into the folder that \`robo manager --agent-binaries DIR\` names, and make a new line with \`robo device enroll\`"
    [ -z "$lacking" ] || fail "$lacking" "--token-file FILE, with what \`robo device enroll\` printed"
}

# The token is in a variable of this shell and then in a file for the agent's user alone: never an argument, never in an
# environment.
get_token() {
    token='' lacking=''
    if [ "$token_file" = - ]; then
        read -r token || [ -n "$token" ] || fail "there is no token on standard input"
    elif [ -n "$token_file" ]; then
        [ -r "$token_file" ] || fail "the token cannot be read from $token_file"
        read -r token <"$token_file" || [ -n "$token" ] || fail "there is no token in $token_file"
    elif [ -f "$root$state/identity/identity.json" ]; then
        return
    elif [ -f "$root$state/token" ]; then
        # It waits there from the last time, and is good for reports.
        if read -r waiting <"$root$state/token"; then prove "$waiting"; fi
        return
    elif (: </dev/tty) 2>/dev/null; then
        ask_token
    else
        # Another reason comes first: a machine for which there is no agent needs no token.
        lacking="there is no token, and nobody to ask for one"
        return
    fi
    # A file that came by way of Windows.
    token=${token%"$(printf '\r')"}
    case $token in
        *[!A-Za-z0-9.]*) fail "this is not an enrolment token" "make one with \`robo device enroll\`" ;;
        "rbe1.$CA".?*) ;;
        rbe1.*) fail "this token is another manager's, not one of $MANAGER" "make one there, or take the line that was printed with this token" ;;
        *) fail "this is not an enrolment token" "make one with \`robo device enroll\`" ;;
    esac
    prove "$token"
}

# printf is the shell's own: no process has the token among its arguments.
prove() {
    # An image is no machine yet.
    [ -z "$root" ] || return 0
    proof=$(printf '%s' "$1" | sha256sum)
    proof=${proof%% *}
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
new='' child='' told=no
tidy() {
    if [ "$1" -ne 0 ] && [ "$told" = no ]; then report AGT_STOPPED "the stage \`$stage\` ended with $1"; fi
    [ "$echo_off" = no ] || stty echo </dev/tty
    [ -z "$child" ] || kill "$child" 2>/dev/null || true
    [ -z "$new" ] || rm -f "$new"
}
# stopped STATUS WHAT
stopped() {
    trap - INT TERM HUP
    told=yes
    report AGT_STOPPED "$2"
    exit "$1"
}
trap 'tidy $?' EXIT
trap 'stopped 130 "interrupted at the keyboard"' INT
trap 'stopped 143 "ended by a signal"' TERM HUP

hash_of() {
    sum=$(sha256sum "$1")
    printf '%s' "${sum%% *}"
}

# The certificate is not looked at: the manager's CA is no machine's, and the SHA-256 says more.
# What is there already is not fetched again.
download() {
    url=$1 to=$2
    set --
    if [ -s "$to" ]; then
        case $fetcher in
            curl) set -- --continue-at - ;;
            *) set -- -c ;;
        esac
    fi
    case $fetcher in
        curl) exec curl --fail --silent --show-error --insecure --connect-timeout 15 --speed-limit 1 --speed-time 30 "$@" --output "$to" "$url" ;;
        *) exec wget -q -T 30 "$@" --no-check-certificate -O "$to" "$url" ;;
    esac
}

fetch() {
    attempt=1 pause=1 began=$(date +%s)
    while :; do
        status=0 left=$((began + time_limit - $(date +%s)))
        # A clock that is set meanwhile makes nothing longer.
        if [ "$left" -gt "$time_limit" ]; then left=$time_limit began=$(date +%s); fi
        [ "$left" -gt 0 ] || too_slow
        within "$left" download "$1" "$2" || status=$?
        [ "$status" -ne 0 ] || return 0
        case $fetcher$status in
            *124) too_slow ;;
            # The answer was a refusal: perhaps of the rest of what is another program by now.
            curl22 | wget8) rm -f "$2" ;;
            # What curl and wget end with when a file cannot be written: no other attempt makes room.
            curl23 | wget3) fail_as AGT_DISK_FULL "${2%/*} takes no file of that size" "make room there: \`df ${2%/*}\` says how much is left" ;;
        esac
        [ "$attempt" -lt "$ATTEMPTS" ] || fail_as AGT_DOWNLOAD "$1 cannot be downloaded" "look at the network and at the proxy (HTTPS_PROXY), and run this again"
        attempt=$((attempt + 1))
        say "  the download broke off; attempt $attempt of $ATTEMPTS"
        sleep "$pause"
        pause=$((pause * 2))
        if [ "$pause" -gt "$LONGEST_PAUSE" ]; then pause=$LONGEST_PAUSE; fi
        enter download 10 "attempt $attempt of $ATTEMPTS"
        # It may have been cut after its last byte.
        if [ -s "$2" ] && [ "$(hash_of "$2")" = "$wanted" ]; then return 0; fi
    done
}

install_program() {
    program=$root$bin/robo-agent
    if [ -f "$program" ] && [ "$(hash_of "$program")" = "$wanted" ]; then
        say "robo-agent $VERSION is there already: $program"
        return
    fi
    mkdir -p "$root$bin" 2>/dev/null || unwritable "$root$bin"
    # In the same folder, so that it takes its place at once or not at all.
    new=$root$bin/.robo-agent.$$
    say "robo-agent $VERSION for $architecture, from $MANAGER"
    (: >"$new") 2>/dev/null || unwritable "$root$bin"
    enter download 10
    fetch "https://$MANAGER/v1/install/agent/$architecture" "$new"
    enter verify 50
    if [ "$attempt" -gt 1 ] && [ "$(hash_of "$new")" != "$wanted" ]; then
        # The parts may be of two programs, where the manager's was replaced meanwhile.
        rm -f "$new"
        fetch "https://$MANAGER/v1/install/agent/$architecture" "$new"
    fi
    [ "$(hash_of "$new")" = "$wanted" ] || fail_as AGT_CHECKSUM "what came is not the program that was announced; nothing was installed" "the manager's was replaced meanwhile, or somebody in the network is at work: make a new line with \`robo device enroll\`"
    enter unpack 60
    chmod 755 "$new" || unwritable "$new"
    try_program
    mv -f "$new" "$program" || unwritable "$program"
    new=''
    say "  is in $program"
}

try_program() {
    status=0
    within "$time_limit" run "$new" --version >/dev/null || status=$?
    case $status in
        0) ;;
        124) too_slow ;;
        *) fail_as AGT_PROGRAM "the program does not run on this machine (it ended with $status); nothing was installed" "look whether ${new%/*} is mounted \`noexec\`" ;;
    esac
}

# Written once; what somebody changed there stays, but for the user that is named now.
install_settings() {
    enter settings 70
    if [ -e "$root$settings" ]; then
        [ -z "$exec_user" ] || change_exec_user
        return 0
    fi
    mkdir -p "$root${settings%/*}" 2>/dev/null || unwritable "$root${settings%/*}"
    (: >"$root$settings") 2>/dev/null || unwritable "$root$settings"
    chmod 600 "$root$settings"
    (
        # A proxy's password may stand there.
        umask 077
        {
            say "# The environment of robo-agent; after a change: systemctl $scope restart $SERVICE"
            setting HTTPS_PROXY "${HTTPS_PROXY:-${https_proxy:-${ALL_PROXY:-${all_proxy:-}}}}"
            setting NO_PROXY "${NO_PROXY:-${no_proxy:-}}"
            setting ROBO_EXEC_USER "$exec_user"
        } >"$root$settings"
    ) || {
        # What is not whole is written anew the next time.
        rm -f "$root$settings"
        unwritable "$root$settings"
    }
}

# Every other line stays as it is.
change_exec_user() {
    rm -f "$root$settings.new"
    (
        umask 077
        {
            # First, for the last line may have no end.
            setting ROBO_EXEC_USER "$exec_user" && sed -e '/^ *ROBO_EXEC_USER=/d' -e '/^# ROBO_EXEC_USER=$/d' "$root$settings"
        } >"$root$settings.new"
    ) 2>/dev/null || {
        rm -f "$root$settings.new"
        unwritable "$root$settings"
    }
    mv -f "$root$settings.new" "$root$settings" || unwritable "$root$settings"
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
    enter unit 75
    mkdir -p "$root${unit%/*}" 2>/dev/null || unwritable "$root${unit%/*}"
    (: >"$root$unit.new") 2>/dev/null || unwritable "$root$unit.new"
    # A user's services cannot wait for the network, only for one another.
    network='
Wants=network-online.target
After=network-online.target'
    wanted_by=multi-user.target
    if [ "$user" = yes ]; then network='' wanted_by=default.target; fi
    cat >"$root$unit.new" <<END || unwritable "$root$unit.new"
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
# The agent goes last when memory runs out; what it starts is as any other process.
OOMScoreAdjust=-900
TasksMax=infinity
# No sandbox here: recipes would inherit it, and they install packages, open devices and change users. Each runs as the
# user that its component names.

[Install]
WantedBy=$wanted_by
END
    mv -f "$root$unit.new" "$root$unit" || unwritable "$root$unit"
}

# The agent takes a token that it finds in its folder, and removes it once it is enrolled.
keep_token() {
    enter enrol 80
    if [ ! -d "$root$state" ]; then
        mkdir -p "$root${state%/*}" 2>/dev/null || unwritable "$root${state%/*}" AGT_STATE_FOLDER
        mkdir -m 700 "$root$state" 2>/dev/null || unwritable "$root$state" AGT_STATE_FOLDER
    fi
    [ -n "$token" ] || return 0
    rm -f "$root$state/token.new"
    (umask 077 && printf '%s\n' "$token" >"$root$state/token.new") 2>/dev/null || unwritable "$root$state/token" AGT_STATE_FOLDER
    mv -f "$root$state/token.new" "$root$state/token" || unwritable "$root$state/token" AGT_STATE_FOLDER
    token=''
}

# For --uninstall, when the manager is long gone.
keep_script() {
    copy=$root$bin/robo-agent-install
    if [ ! -f "$0" ] || ! grep -q '^# robo-agent-install: ' "$0"; then return 0; fi
    { cat "$0" >"$copy.new" && chmod 755 "$copy.new" && mv -f "$copy.new" "$copy"; } 2>/dev/null || unwritable "$copy"
}

has_systemd() {
    [ -z "$root" ] && command -v systemctl >/dev/null || return 1
    if [ "$user" = yes ]; then within "$time_limit" run systemctl --user show-environment >/dev/null 2>&1; else [ -d /run/systemd/system ]; fi
}

begin() {
    if [ -n "$root" ]; then
        enable_in_image
        say "The image in $root has the agent; the device enrols when it boots."
        return
    fi
    if ! has_systemd; then
        say "There is no systemd here that could start the agent. Have it run by what starts services here:"
        say "  $bin/robo-agent --manager $MANAGER --state $state${name:+ --name $name}${exec_user:+ --exec-user $exec_user}"
        return
    fi
    service daemon-reload
    service enable "$SERVICE"
    service restart "$SERVICE"
    wait_for_device
    if [ "$user" = yes ]; then
        say "So that it runs while you are not logged in: sudo loginctl enable-linger $(id -un)"
    fi
}

# service WHAT...: what systemd says is told when it does not do it.
service() {
    status=0
    said=$root$state/.systemctl.$$
    within "$time_limit" run systemctl "$scope" "$@" >"$said" 2>&1 || status=$?
    text=$(cat "$said" 2>/dev/null || true)
    rm -f "$said"
    case $status in
        0) ;;
        124) too_slow ;;
        *) fail_as AGT_UNIT "\`systemctl $scope $*\` ended with $status: $text $(last_lines)" "\`systemctl $scope status $SERVICE\` says more; then run this again" ;;
    esac
}

last_lines() {
    if command -v journalctl >/dev/null; then
        journalctl "$scope" --unit "$SERVICE" --lines 5 --no-pager --output cat 2>/dev/null || true
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
    enter online 90
    waited=0
    if [ "$PATIENCE" -gt "$time_limit" ]; then PATIENCE=$time_limit; fi
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
    enter online 100
    say "This machine is a device of $MANAGER now. Look at it with: robo-agent doctor"
}

# Names what the doctor finds first; where it runs and all it lacks is an identity, the agent's log says why.
explain() {
    found=$(doctor 2>&1 || true)
    log=$(last_lines)
    printf '%s\n%s\n' "$found" "$log" >&2
    code=$(printf '%s\n' "$found" | sed -n 's/^failed .* \(AGT_[A-Z_]*\): .*/\1/p' | head -n 1)
    named=$(printf '%s\n' "$log" | sed -n 's/.*\(AGT_[A-Z_]*\).*/\1/p' | tail -n 1)
    case $code in
        '') code=AGT_TIME_LIMIT ;;
        # It ends each time before it could say anything.
        AGT_NOT_RUNNING) code=${named:-AGT_UNIT} ;;
        AGT_NOT_ENROLLED) code=${named:-$code} ;;
    esac
    fail_as "$code" "the agent is installed, but it is not a device yet; it goes on trying. $(printf '%s\n' "$found" | sed -n 's/^failed *//p' | head -n 3) $log" "with a new token run this again; \`robo-agent doctor\` says how it is"
}

uninstall() {
    found=no
    if [ -e "$root$unit" ]; then
        found=yes
        if has_systemd; then systemctl "$scope" disable --now "$SERVICE" || true; fi
        rm -f "$root$unit" "$root${unit%/*}/multi-user.target.wants/$SERVICE"
        if has_systemd; then systemctl "$scope" daemon-reload || true; fi
    fi
    # What upgrades leave beside the program goes with it.
    for file in "$root$bin/robo-agent" "$root$bin/robo-agent-install" \
        "$root$bin/robo-agent.previous" "$root$bin/robo-agent.upgrade"; do
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
