# Completion of wicket for fish.
set -l commands peer conf import export events status top doctor bugreport explain db config reload plan web
complete -c wicket -n "not __fish_seen_subcommand_from $commands" -f -a "$commands"
complete -c wicket -n "__fish_seen_subcommand_from peer" -f -a "add rm show ls why reset-replay"
complete -c wicket -n "__fish_seen_subcommand_from db" -f -a "stats verify backup compact"
complete -c wicket -n "__fish_seen_subcommand_from config" -a "check"
for option in socket store device json help
    complete -c wicket -l $option
end
