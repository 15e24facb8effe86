# Writes as many bytes as it is given to both logs.
echo ran >>ran
head -c "$1" /dev/zero | tr '\0' x
head -c "$1" /dev/zero | tr '\0' y >&2
