# Takes a while to end when it is asked to.
echo ran >>ran
trap 'sleep 0.3; echo stopped; exit 0' TERM
echo started
while :; do sleep 0.05; done
