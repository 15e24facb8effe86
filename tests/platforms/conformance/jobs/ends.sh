# Ends at once, with the exit code that it is given.
echo ran >>ran
echo out
echo err >&2
exit "$1"
