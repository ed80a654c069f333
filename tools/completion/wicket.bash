# Completion of wicket for bash.
_wicket() {
  local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} words=""
  if ((COMP_CWORD == 1)); then
    words="peer conf import export events status top doctor bugreport explain db config reload plan web --help --version"
  elif ((COMP_CWORD == 2)); then
    case $command in
      peer) words="add rm show ls why reset-replay" ;;
      db) words="stats verify backup compact" ;;
      config) words="check" ;;
    esac
  fi
  if [[ $word == -* ]]; then
    local path=(wicket "$command")
    case $command in peer | db | config) path+=("${COMP_WORDS[2]}") ;; esac
    words=$("${path[@]}" --help 2>/dev/null | grep -o -- '--[a-z-]*')
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
  [[ ${#COMPREPLY[@]} -gt 0 || $word == -* ]] || mapfile -t COMPREPLY < <(compgen -f -- "$word")
}
complete -F _wicket wicket
