# Takes as many seconds as it is given, and ends well. It ends when it is asked to.
echo ran >>ran
echo started
exec sleep "$1"
