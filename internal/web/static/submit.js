// Sends the form of the page, as its button does.
document.getElementById("submit-now").submit();
