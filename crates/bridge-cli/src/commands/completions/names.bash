
# Names of arrays: the program reads them from the files on the line.
_FUNCTION_names() {
    if [[ "$COMP_LINE" == *--name* || "$COMP_LINE" == *--key* ]]; then
        local program="PROGRAM" names name
        type -P -- "$program" > /dev/null || program="$1"
        if names="$("$program" complete-names --before "${COMP_LINE:0:COMP_POINT}" \
            --after "${COMP_LINE:COMP_POINT}" --word "$2" 2> /dev/null)"; then
            COMPREPLY=()
            while IFS= read -r name; do
                [[ -n "$name" ]] && COMPREPLY+=("$name")
            done <<< "$names"
            compopt +o default +o bashdefault 2> /dev/null
            return 0
        fi
    fi
    _FUNCTION "$@"
}

if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -F _FUNCTION_names -o nosort -o bashdefault -o default PROGRAM
else
    complete -F _FUNCTION_names -o bashdefault -o default PROGRAM
fi
