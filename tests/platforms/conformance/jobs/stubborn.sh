# A tree that does not end when asked to: deaf, forked twice, in sessions of its own.
echo ran >>ran
trap '' TERM HUP INT
(setsid sh -c 'trap "" TERM HUP INT; (sleep 1001 &); sleep 1002' &)
setsid setsid sleep 1003 &
sleep 1004 &
echo started
wait
