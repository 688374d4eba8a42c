
# Names of arrays: the program reads them from the files on the line.
function __fish_FUNCTION_names
    set -l words (commandline -opc)
    PROGRAM complete-names --option $argv[1] -- $words[2..] 2> /dev/null
end
complete -c PROGRAM -n "__fish_seen_subcommand_from convert plan diff" -l name -x -k -a "(__fish_FUNCTION_names name)"
complete -c PROGRAM -n "__fish_seen_subcommand_from convert plan" -l key -x -k -a "(__fish_FUNCTION_names key)"
