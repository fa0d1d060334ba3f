# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_robo_global_optspecs
    string join \n o/output= context= project= v/verbose h/help V/version
end

function __fish_robo_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_robo_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_robo_using_subcommand
    set -l cmd (__fish_robo_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c robo -n "__fish_robo_needs_command" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_needs_command" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_needs_command" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_needs_command" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_needs_command" -s V -l version -d 'Print version'
complete -c robo -n "__fish_robo_needs_command" -f -a "up" -d 'Runs an application on this machine: a manager, and an agent process for each of its machines'
complete -c robo -n "__fish_robo_needs_command" -f -a "down" -d 'Ends everything that `robo up` runs on this machine: instances first, by their own stop steps'
complete -c robo -n "__fish_robo_needs_command" -f -a "check" -d 'Says what is wrong with a graph, without a manager'
complete -c robo -n "__fish_robo_needs_command" -f -a "fmt" -d 'Lays out graph and instance files in one form'
complete -c robo -n "__fish_robo_needs_command" -f -a "explain" -d 'Tells what a code of `robo check` means, with a wrong and a right example'
complete -c robo -n "__fish_robo_needs_command" -f -a "graph" -d 'Draws a graph: what stands on what, and what needs what'
complete -c robo -n "__fish_robo_needs_command" -f -a "doc" -d 'Writes a page about a graph, from its components, comments and instances'
complete -c robo -n "__fish_robo_needs_command" -f -a "plan" -d 'Shows what an apply would do, and does nothing'
complete -c robo -n "__fish_robo_needs_command" -f -a "apply" -d 'Makes an application what its graph says: shows the plan, asks, does it, and waits until all is as wished'
complete -c robo -n "__fish_robo_needs_command" -f -a "status" -d 'Shows what runs where, and what keeps the rest from running'
complete -c robo -n "__fish_robo_needs_command" -f -a "start" -d 'Starts an application, or an instance and all below it, and waits until it is started'
complete -c robo -n "__fish_robo_needs_command" -f -a "stop" -d 'Stops an application, or an instance and all below it, until it is started or applied again'
complete -c robo -n "__fish_robo_needs_command" -f -a "undeploy" -d 'Stops an application, or an instance and all below it, and removes its files from the machines'
complete -c robo -n "__fish_robo_needs_command" -f -a "delete" -d 'Stops an application, removes it from the machines, and forgets it'
complete -c robo -n "__fish_robo_needs_command" -f -a "logs" -d 'Shows what an instance prints: its program\'s output, or that of its steps'
complete -c robo -n "__fish_robo_needs_command" -f -a "events" -d 'Shows what happened: states, failures, updates, devices that come and go'
complete -c robo -n "__fish_robo_needs_command" -f -a "exec" -d 'Runs a command on devices'
complete -c robo -n "__fish_robo_needs_command" -f -a "device" -d 'Lists devices, shows one, or lets a new one in'
complete -c robo -n "__fish_robo_needs_command" -f -a "context" -d 'Lists the managers you know, chooses one, adds or removes one'
complete -c robo -n "__fish_robo_needs_command" -f -a "manager" -d 'Runs the manager: the API, the planner, the store and the agents\' links, on one port'
complete -c robo -n "__fish_robo_needs_command" -f -a "agent" -d 'Runs the agent of this machine'
complete -c robo -n "__fish_robo_needs_command" -f -a "completions" -d 'Prints a completion script for a shell'
complete -c robo -n "__fish_robo_using_subcommand up" -l timeout -d 'How long everything may take to be as wished' -r
complete -c robo -n "__fish_robo_using_subcommand up" -l set -d 'Put VALUE for `${KEY}` in a Roboconf project\'s descriptor; may be given again' -r
complete -c robo -n "__fish_robo_using_subcommand up" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand up" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand up" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand up" -s d -l detach -d 'Return as soon as everything is as wished, and leave it running'
complete -c robo -n "__fish_robo_using_subcommand up" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand up" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand down" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand down" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand down" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand down" -l purge -d 'Remove what was kept too: data of the applications, identities, history'
complete -c robo -n "__fish_robo_using_subcommand down" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand down" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand check" -l graph -d 'The graph that files of instances refer to; in a project folder it is found without' -r -F
complete -c robo -n "__fish_robo_using_subcommand check" -l set -d 'Put VALUE for `${KEY}` in a Roboconf project\'s descriptor; may be given again' -r
complete -c robo -n "__fish_robo_using_subcommand check" -s o -l output -d 'How to print the mistakes' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'
sarif\t'SARIF 2.1.0, for code review tools'"
complete -c robo -n "__fish_robo_using_subcommand check" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand check" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand check" -l deny-warnings -d 'End with 1 when there are warnings, not only for errors'
complete -c robo -n "__fish_robo_using_subcommand check" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand fmt" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand fmt" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand fmt" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand fmt" -l check -d 'Write nothing; show what would change, and end with 1 if anything would'
complete -c robo -n "__fish_robo_using_subcommand fmt" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand fmt" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand explain" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand explain" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand explain" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand explain" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand graph" -l set -d 'Put VALUE for `${KEY}` in a Roboconf project\'s descriptor; may be given again' -r
complete -c robo -n "__fish_robo_using_subcommand graph" -l component -d 'Only this component and what is near: where it may stand, what may stand on it, what it needs, who needs it' -r
complete -c robo -n "__fish_robo_using_subcommand graph" -l depth -d 'How many steps from the component are still near' -r
complete -c robo -n "__fish_robo_using_subcommand graph" -l out -d 'Write to a file instead of standard output' -r -F
complete -c robo -n "__fish_robo_using_subcommand graph" -s o -l output -d 'How to draw' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'
dot\t'For Graphviz'
mermaid\t'For Mermaid, as Markdown shows it on many sites'
svg\t'A picture'"
complete -c robo -n "__fish_robo_using_subcommand graph" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand graph" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand graph" -l instances -d 'Draw the instances instead of the components'
complete -c robo -n "__fish_robo_using_subcommand graph" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand graph" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand doc" -l set -d 'Put VALUE for `${KEY}` in a Roboconf project\'s descriptor; may be given again' -r
complete -c robo -n "__fish_robo_using_subcommand doc" -l out -d 'Write to a file instead of standard output' -r -F
complete -c robo -n "__fish_robo_using_subcommand doc" -s o -l output -d 'Which kind of page' -r -f -a "html\t'One page for browsers, with everything in it'
markdown\t'For repositories, with drawings for Mermaid'"
complete -c robo -n "__fish_robo_using_subcommand doc" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand doc" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand doc" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand doc" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand plan" -l set -d 'Put VALUE for `${KEY}` in a Roboconf project\'s descriptor; may be given again' -r
complete -c robo -n "__fish_robo_using_subcommand plan" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand plan" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand plan" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand plan" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand apply" -l set -d 'Put VALUE for `${KEY}` in a Roboconf project\'s descriptor; may be given again' -r
complete -c robo -n "__fish_robo_using_subcommand apply" -l timeout -d 'How long to wait until all is as wished' -r
complete -c robo -n "__fish_robo_using_subcommand apply" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand apply" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand apply" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand apply" -s y -l yes -d 'Agree to the plan in advance'
complete -c robo -n "__fish_robo_using_subcommand apply" -l no-wait -d 'Return as soon as the manager has it'
complete -c robo -n "__fish_robo_using_subcommand apply" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand apply" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand status" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand status" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand status" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand status" -l check -d 'End with 3 when not everything is as wished'
complete -c robo -n "__fish_robo_using_subcommand status" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand start" -l timeout -d 'How long to wait until all is as wished' -r
complete -c robo -n "__fish_robo_using_subcommand start" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand start" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand start" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand start" -l no-wait -d 'Return as soon as the manager has it'
complete -c robo -n "__fish_robo_using_subcommand start" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand start" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand stop" -l timeout -d 'How long to wait until all is as wished' -r
complete -c robo -n "__fish_robo_using_subcommand stop" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand stop" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand stop" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand stop" -l no-wait -d 'Return as soon as the manager has it'
complete -c robo -n "__fish_robo_using_subcommand stop" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand stop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand undeploy" -l timeout -d 'How long to wait until all is as wished' -r
complete -c robo -n "__fish_robo_using_subcommand undeploy" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand undeploy" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand undeploy" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand undeploy" -l no-wait -d 'Return as soon as the manager has it'
complete -c robo -n "__fish_robo_using_subcommand undeploy" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand undeploy" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand delete" -l timeout -d 'How long to wait until all is as wished' -r
complete -c robo -n "__fish_robo_using_subcommand delete" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand delete" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand delete" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand delete" -s y -l yes -d 'Do not ask'
complete -c robo -n "__fish_robo_using_subcommand delete" -l no-wait -d 'Return as soon as the manager has it'
complete -c robo -n "__fish_robo_using_subcommand delete" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand logs" -s n -l lines -d 'How many of the last lines' -r
complete -c robo -n "__fish_robo_using_subcommand logs" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand logs" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand logs" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand logs" -s f -l follow -d 'Go on with what comes'
complete -c robo -n "__fish_robo_using_subcommand logs" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand logs" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand events" -l since -d 'Those after the one with this id' -r
complete -c robo -n "__fish_robo_using_subcommand events" -s n -l lines -d 'How many at most, the newest; with `--since` the oldest' -r
complete -c robo -n "__fish_robo_using_subcommand events" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand events" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand events" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand events" -s f -l follow -d 'Go on with what comes'
complete -c robo -n "__fish_robo_using_subcommand events" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand events" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand exec" -s l -l selector -d 'The devices whose labels match, as in `site=tokyo,gpu`' -r
complete -c robo -n "__fish_robo_using_subcommand exec" -l timeout -d 'How long the command may run on each device; then it is killed there' -r
complete -c robo -n "__fish_robo_using_subcommand exec" -s e -l env -d 'A variable for the command; a NAME alone takes the value it has here. May be given again' -r
complete -c robo -n "__fish_robo_using_subcommand exec" -l cwd -d 'The folder to run it in' -r
complete -c robo -n "__fish_robo_using_subcommand exec" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand exec" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand exec" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand exec" -l all -d 'Every device of the project'
complete -c robo -n "__fish_robo_using_subcommand exec" -s n -l no-stdin -d 'Send no input, even when there is some: for use inside of loops that read'
complete -c robo -n "__fish_robo_using_subcommand exec" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand exec" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand device; and not __fish_seen_subcommand_from list inspect enroll" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand device; and not __fish_seen_subcommand_from list inspect enroll" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand device; and not __fish_seen_subcommand_from list inspect enroll" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand device; and not __fish_seen_subcommand_from list inspect enroll" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand device; and not __fish_seen_subcommand_from list inspect enroll" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand device; and not __fish_seen_subcommand_from list inspect enroll" -f -a "list" -d 'Lists the devices of the project'
complete -c robo -n "__fish_robo_using_subcommand device; and not __fish_seen_subcommand_from list inspect enroll" -f -a "inspect" -d 'Shows all that is known of one device'
complete -c robo -n "__fish_robo_using_subcommand device; and not __fish_seen_subcommand_from list inspect enroll" -f -a "enroll" -d 'Makes a token with which one new device may enrol, and says how'
complete -c robo -n "__fish_robo_using_subcommand device; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand device; and __fish_seen_subcommand_from list" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand device; and __fish_seen_subcommand_from list" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand device; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand device; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand device; and __fish_seen_subcommand_from inspect" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand device; and __fish_seen_subcommand_from inspect" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand device; and __fish_seen_subcommand_from inspect" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand device; and __fish_seen_subcommand_from inspect" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand device; and __fish_seen_subcommand_from inspect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand device; and __fish_seen_subcommand_from enroll" -s l -l label -d 'A label for it; may be given again' -r
complete -c robo -n "__fish_robo_using_subcommand device; and __fish_seen_subcommand_from enroll" -l ttl -d 'How long the token is good for' -r
complete -c robo -n "__fish_robo_using_subcommand device; and __fish_seen_subcommand_from enroll" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand device; and __fish_seen_subcommand_from enroll" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand device; and __fish_seen_subcommand_from enroll" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand device; and __fish_seen_subcommand_from enroll" -l replace -d 'When a device of this name exists, its key is replaced'
complete -c robo -n "__fish_robo_using_subcommand device; and __fish_seen_subcommand_from enroll" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand device; and __fish_seen_subcommand_from enroll" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand context; and not __fish_seen_subcommand_from list use show add remove" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand context; and not __fish_seen_subcommand_from list use show add remove" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand context; and not __fish_seen_subcommand_from list use show add remove" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand context; and not __fish_seen_subcommand_from list use show add remove" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand context; and not __fish_seen_subcommand_from list use show add remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand context; and not __fish_seen_subcommand_from list use show add remove" -f -a "list" -d 'Lists the contexts; `*` is the one in use'
complete -c robo -n "__fish_robo_using_subcommand context; and not __fish_seen_subcommand_from list use show add remove" -f -a "use" -d 'Uses a context from now on'
complete -c robo -n "__fish_robo_using_subcommand context; and not __fish_seen_subcommand_from list use show add remove" -f -a "show" -d 'Shows a context, without its token'
complete -c robo -n "__fish_robo_using_subcommand context; and not __fish_seen_subcommand_from list use show add remove" -f -a "add" -d 'Adds a context, or changes it'
complete -c robo -n "__fish_robo_using_subcommand context; and not __fish_seen_subcommand_from list use show add remove" -f -a "remove" -d 'Forgets a context'
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from list" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from list" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from use" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from use" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from use" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from use" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from use" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from show" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from show" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from show" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from add" -l url -d 'The manager\'s address' -r
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from add" -l ca -d 'The manager\'s CA, in PEM; it is copied' -r -F
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from add" -l token-file -d 'The file with your token; it is read each time' -r -F
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from add" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from add" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from add" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from add" -l use -d 'Use it from now on, even when there is one in use'
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from add" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from remove" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from remove" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from remove" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from remove" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand context; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand manager" -l listen -d 'Where to listen; port 0 takes a free one' -r
complete -c robo -n "__fish_robo_using_subcommand manager" -l data -d 'The folder for store, files and authority; `manager` in robo\'s state folder where none is given' -r -F
complete -c robo -n "__fish_robo_using_subcommand manager" -l heartbeat -d 'How often each agent says something; a silent one counts as offline after twice this time' -r
complete -c robo -n "__fish_robo_using_subcommand manager" -l ready-file -d 'Writes the address to this file as soon as it listens' -r -F
complete -c robo -n "__fish_robo_using_subcommand manager" -l log-file -d 'Log to this file, which is kept small, instead of to standard error' -r -F
complete -c robo -n "__fish_robo_using_subcommand manager" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand manager" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand manager" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand manager" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand manager" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand agent" -l manager -d 'The manager to dial' -r
complete -c robo -n "__fish_robo_using_subcommand agent" -l token-file -d 'The file with the enrolment token; `-` reads it from standard input' -r -F
complete -c robo -n "__fish_robo_using_subcommand agent" -l ca -d 'The manager\'s CA certificate, in PEM; without it the one that the token names is trusted' -r -F
complete -c robo -n "__fish_robo_using_subcommand agent" -l state -d 'The agent\'s folder: identity, ledger, instances' -r -F
complete -c robo -n "__fish_robo_using_subcommand agent" -l name -d 'The name to propose for this device, where the token does not give one' -r
complete -c robo -n "__fish_robo_using_subcommand agent" -l address -d 'An address under which other devices reach this one; may be given again, the first is the main one. Found out where none is given' -r
complete -c robo -n "__fish_robo_using_subcommand agent" -l log-file -d 'Log to this file, which is kept small, instead of to standard error' -r -F
complete -c robo -n "__fish_robo_using_subcommand agent" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand agent" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand agent" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand agent" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand agent" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c robo -n "__fish_robo_using_subcommand completions" -s o -l output -d 'How to print what was asked for' -r -f -a "table\t'For people'
wide\t'For people with a wide terminal'
json\t'For programs; a stream is one object per line'
yaml\t'For programs and people'
name\t'Names only, one per line'"
complete -c robo -n "__fish_robo_using_subcommand completions" -l context -d 'The manager to talk to, by its name in `robo context list`' -r
complete -c robo -n "__fish_robo_using_subcommand completions" -l project -d 'The project to work in, instead of the context\'s' -r
complete -c robo -n "__fish_robo_using_subcommand completions" -s v -l verbose -d 'Say on standard error what is being done; twice for more'
complete -c robo -n "__fish_robo_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
