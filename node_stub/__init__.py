"""A node broker: schedules requests on one site's capacity and drives the accepted sessions to their end."""
