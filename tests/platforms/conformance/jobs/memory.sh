# Takes more and more memory, twice as much each time.
echo ran >>ran
exec awk 'BEGIN { text = "x"; while (1) text = text text }'
