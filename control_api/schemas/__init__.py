"""The structs of bodies, query strings and answers: the API reads by them, and its description is made of them."""
