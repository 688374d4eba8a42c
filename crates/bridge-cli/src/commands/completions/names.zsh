
# Names of arrays: the program reads them from the files on the line.
_PROGRAM_names() {
    local -a names
    names=("${(@f)$(PROGRAM complete-names --option "${@[-1]}" -- \
        "${(@Q)words}" 2> /dev/null)}")
    compadd "${@[1,-2]}" -- "${(@)names:#}"
}
