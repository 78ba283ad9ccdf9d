"""Orders of the API: changes of the rule table followed until they are effective, undone, and accounted for."""
