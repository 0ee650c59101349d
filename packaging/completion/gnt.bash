# bash completion of the gnt-* commands; goes to /usr/share/bash-completion/completions or is sourced.
_gnt() {
    local line=${COMP_LINE:0:COMP_POINT} word part
    mapfile -t COMPREPLY < <("$1" --complete "$line" 2>/dev/null)
    # bash breaks words at = and : too, and wants only what follows the last of these.
    word=${line##*[[:space:]]}
    part=${COMP_WORDS[COMP_CWORD]}
    [[ $part == [=:] ]] && part=
    COMPREPLY=("${COMPREPLY[@]#"${word%"$part"}"}")
}
complete -o default -F _gnt gnt-backup gnt-cluster gnt-debug gnt-filter gnt-group gnt-instance gnt-job gnt-network \
    gnt-node gnt-os gnt-storage
